-- One row: the epoch of the repository.
SELECT holdfast.rebuild_done($1, $2, $3, $4, $5, $6, $7::text::jsonb)
