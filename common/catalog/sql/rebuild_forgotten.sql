-- One row: whether the catalogue had it.
SELECT holdfast.rebuild_forgotten($1, $2, $3, $4, $5)
