-- No row: the key may be used again.
DELETE FROM holdfast.idempotency WHERE actor = $1 AND key = $2
