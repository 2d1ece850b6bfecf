-- One row: how many packs were called verified.
SELECT holdfast.pack_verified($1, $2, $3, $4, $5)
