-- One row: whether what was stored is what the catalogue still says.
SELECT holdfast.hold_stored($1, $2, $3, $4)
