-- A row where $1, if given, is a source: why things ran or did not, newest first; $5 cursor, $6 job, $10 since, $11 until.
SELECT jsonb_build_object('items', coalesce(jsonb_agg(item ORDER BY last_at DESC, id DESC), '[]'),
  'next_cursor', CASE WHEN count(*) = $12 THEN (array_agg((extract(epoch FROM last_at) * 1000000)::bigint || '.' || id ORDER BY last_at, id))[1] END)::text
FROM (SELECT d.id, d.last_at, jsonb_build_object('at', holdfast.rfc3339(d.first_at), 'last_at', holdfast.rfc3339(d.last_at), 'count', d.count,
        'decision', d.verdict, 'reason', d.code, 'text', d.text, 'measured', d.measured, 'source', s.name, 'schedule', d.schedule, 'slot', holdfast.rfc3339(d.slot),
        'job', holdfast.job_text(d.job)) AS item
      FROM holdfast.decision d LEFT JOIN holdfast.source s ON s.no = d.source
      WHERE ($1 IS NULL OR s.name = $1) AND ($6 IS NULL OR d.job = $6) AND ($10 IS NULL OR d.last_at >= $10) AND ($11 IS NULL OR d.first_at < $11)
        AND ($5 IS NULL OR (d.last_at, d.id) < ('epoch'::timestamptz + split_part($5, '.', 1)::bigint * interval '1 microsecond',
                                                split_part($5, '.', 2)::bigint))
      ORDER BY d.last_at DESC, d.id DESC LIMIT $12) x
HAVING $1 IS NULL OR EXISTS (SELECT FROM holdfast.source WHERE name = $1)
