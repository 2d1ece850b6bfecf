-- One row: the number of the new pack.
SELECT holdfast.repack_new($1, $2, $3, $4, $5, $6)
