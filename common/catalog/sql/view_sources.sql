-- One row: a page of sources by name; $1 name, $2 state, $3 type, $5 cursor.
SELECT jsonb_build_object('items', coalesce(jsonb_agg(item ORDER BY name), '[]'), 'next_cursor', CASE WHEN count(*) = $12 THEN max(name) END)::text
FROM (SELECT f.name, holdfast.source_json(f) AS item FROM holdfast.source_facts f
      WHERE ($1 IS NULL OR f.name = $1) AND ($3 IS NULL OR f.type = $3) AND ($5 IS NULL OR f.name > $5)
        AND ($2 IS NULL OR holdfast.source_state(f) = ANY (string_to_array($2, ','))) ORDER BY f.name LIMIT $12) x
