-- One row: the pack is staged with its chunks.
SELECT holdfast.pack_stage($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
