-- One row: a page of workers by name; $4 one of them, $5 cursor.
SELECT jsonb_build_object('items', coalesce(jsonb_agg(item ORDER BY name), '[]'), 'next_cursor', CASE WHEN count(*) = $12 THEN max(name) END)::text
FROM (SELECT w.name, holdfast.worker_json(w) AS item FROM holdfast.worker w
      WHERE w.retired_at IS NULL AND ($4 IS NULL OR w.name = $4) AND ($5 IS NULL OR w.name > $5) ORDER BY w.name LIMIT $12) x
