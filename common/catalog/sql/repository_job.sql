-- One row: job, pool, whether the key was known.
SELECT job, pool, again FROM holdfast.repository_job($1, $2, $3, CASE $4::text WHEN 'plain' THEN '' ELSE $4::text END, $5::text::jsonb, $6, $7)
