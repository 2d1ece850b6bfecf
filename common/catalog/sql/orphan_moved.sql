-- Nothing: how one ended.
SELECT holdfast.orphan_moved($1, $2, $3, $4, $5, $6)
