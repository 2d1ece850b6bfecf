-- The copied object is durable; its chunks are those of the pack that it was read from.
SELECT holdfast.copy_stage($1, $2, $3, $4, $5, $6, $7, $8)
