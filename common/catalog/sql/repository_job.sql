-- One row: job, pool, whether the key was known.
SELECT job, pool, again FROM holdfast.repository_job($1, $2, $3, $4, $5::text::jsonb, $6, $7)
