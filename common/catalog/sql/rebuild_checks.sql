-- One row: how many were news.
SELECT holdfast.rebuild_checks($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
