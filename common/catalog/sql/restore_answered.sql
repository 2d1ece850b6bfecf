-- One row: what an earlier attempt of this restore said. Fails when the fence does not hold.
SELECT holdfast.restore_answered($1, $2, $3)
