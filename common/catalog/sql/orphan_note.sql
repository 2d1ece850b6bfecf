-- Nothing: these objects were seen.
SELECT holdfast.orphan_note($1, $2, $3, $4, $5)
