-- One row: the workers by name; $4 one of them.
SELECT jsonb_build_object('items', coalesce(jsonb_agg(holdfast.worker_json(w) ORDER BY w.name), '[]'), 'next_cursor', NULL)::text
FROM holdfast.worker w WHERE w.retired_at IS NULL AND ($4 IS NULL OR w.name = $4)
