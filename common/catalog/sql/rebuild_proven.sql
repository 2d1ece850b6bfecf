-- One row: how many packs are proven from now on, and how many damaged.
SELECT proven, damaged FROM holdfast.rebuild_proven($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
