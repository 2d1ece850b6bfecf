-- One row: is any of these packs still there for somebody?
SELECT holdfast.orphan_packs($1, $2, $3, $4)
