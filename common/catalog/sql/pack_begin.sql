-- One row: the number of the pack.
SELECT holdfast.pack_begin($1, $2, $3, $4, $5, $6)
