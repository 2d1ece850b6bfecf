-- One row: job, pool, whether the key was known.
SELECT job, pool, again FROM holdfast.backup_delete($1, $2, $3, $4, $5)
