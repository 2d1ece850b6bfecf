-- No row: the answer is kept.
UPDATE holdfast.idempotency SET status = $3, body = $4 WHERE actor = $1 AND key = $2
