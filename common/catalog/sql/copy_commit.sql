-- One row: ok, already, fenced or damaged; detail.
SELECT answer, detail FROM holdfast.copy_commit($1, $2, $3, $4, $5, $6, $7)
