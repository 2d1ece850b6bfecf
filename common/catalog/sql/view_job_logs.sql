-- One row: lines of a job after a number; $6 job, $7 after.
SELECT jsonb_build_object('items', coalesce(jsonb_agg(item ORDER BY seq), '[]'), 'next_cursor', max(seq)::text)::text
FROM (SELECT l.seq, jsonb_build_object('seq', l.seq, 'at', holdfast.rfc3339(l.at), 'attempt', l.attempt,
        'level', (ARRAY['debug', 'info', 'warn', 'error'])[l.level + 1], 'event', l.event, 'text', l.text) AS item
      FROM holdfast.job_log l WHERE l.job = $6 AND l.seq > coalesce($7, 0) ORDER BY l.seq LIMIT $12) x
