-- One row: may it still go?
SELECT holdfast.orphan_moving($1, $2, $3, $4)
