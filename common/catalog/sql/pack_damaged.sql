-- One row: the pack is never looked up again.
SELECT holdfast.pack_damaged($1, $2, $3, $4, $5)
