-- One row: number of the repository, name of its store, backups that are known already.
SELECT repository, store, known FROM holdfast.rebuild_begin($1, $2, $3, $4, $5, $6::text::jsonb, $7, $8)
