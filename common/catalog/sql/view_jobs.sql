-- One row: a page of jobs, newest first; $1 source, $2 states, $3 kinds, $5 cursor, $10 since, $11 until.
SELECT jsonb_build_object('items', coalesce(jsonb_agg(item ORDER BY id DESC), '[]'), 'next_cursor', CASE WHEN count(*) = $12 THEN min(id)::text END)::text
FROM (SELECT j.id, holdfast.job_json(j) AS item FROM holdfast.job j
      WHERE ($1 IS NULL OR j.source = (SELECT no FROM holdfast.source WHERE name = $1))
        AND ($2 IS NULL OR j.state = ANY (string_to_array($2, ','))) AND ($3 IS NULL OR j.kind = ANY (string_to_array($3, ',')))
        AND ($5 IS NULL OR j.id < $5::bigint) AND ($10 IS NULL OR j.created_at >= $10) AND ($11 IS NULL OR j.created_at < $11)
      ORDER BY j.id DESC LIMIT $12) x
