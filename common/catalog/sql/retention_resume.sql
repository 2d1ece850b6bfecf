-- One row: how many repositories or sources go on.
SELECT holdfast.retention_resume($1, $2, $3, $4)
