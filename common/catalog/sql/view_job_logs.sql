-- A row when there is such a job: its lines after a number, oldest first; $6 job, $7 after.
SELECT jsonb_build_object('items', coalesce(jsonb_agg(x.item ORDER BY x.seq) FILTER (WHERE x.seq IS NOT NULL), '[]'),
  'next_cursor', CASE WHEN count(x.seq) = $12 THEN max(x.seq)::text END)::text
FROM holdfast.job j
LEFT JOIN LATERAL (SELECT l.seq, jsonb_build_object('seq', l.seq, 'at', holdfast.rfc3339(l.at), 'attempt', l.attempt,
        'level', (ARRAY['debug', 'info', 'warn', 'error'])[l.level + 1], 'event', l.event, 'text', l.text) AS item
      FROM holdfast.job_log l WHERE l.job = j.id AND l.seq > coalesce($7, 0) ORDER BY l.seq LIMIT $12) x ON true
WHERE j.id = $6 GROUP BY j.id
