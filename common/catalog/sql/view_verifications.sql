-- One row: scheduled checks by source, level and store; $4 source.
SELECT jsonb_build_object('items', coalesce(jsonb_agg(holdfast.verify_json(f) ORDER BY f.source, f.level, f.store), '[]'), 'next_cursor', NULL)::text
FROM holdfast.verify_facts f WHERE $4 IS NULL OR f.source = $4
