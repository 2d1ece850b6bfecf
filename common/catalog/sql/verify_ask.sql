-- One row: job, pool, whether the key was known.
SELECT job, pool, again FROM holdfast.verify_ask($1, $2, $3, $4, $5, $6, $7)
