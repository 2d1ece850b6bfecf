-- One row: a page of pools by name; $5 cursor.
SELECT jsonb_build_object('items', coalesce(jsonb_agg(jsonb_build_object('name', p.name, 'number', p.no, 'paused', p.paused, 'max_jobs', p.max_jobs,
    'window', p.window_size, 'pending', coalesce(j.pending, 0), 'waiting', coalesce(j.waiting, 0), 'queued', coalesce(j.queued, 0),
    'running', coalesce(j.running, 0), 'oldest_seconds', coalesce(round(extract(epoch FROM clock_timestamp() - j.oldest)), 0),
    'workers', coalesce(w.workers, 0), 'slots', coalesce(w.slots, 0)) ORDER BY p.name), '[]'), 'next_cursor', CASE WHEN count(*) = $12 THEN max(p.name) END)::text
FROM (SELECT * FROM holdfast.pool WHERE $5 IS NULL OR name > $5 ORDER BY name LIMIT $12) p
LEFT JOIN (SELECT pool, count(*) FILTER (WHERE state = 'pending' AND run_at <= clock_timestamp()) AS pending,
    count(*) FILTER (WHERE state = 'pending' AND run_at > clock_timestamp()) AS waiting, count(*) FILTER (WHERE state = 'queued') AS queued,
    count(*) FILTER (WHERE state = 'running') AS running,
    min(run_at) FILTER (WHERE state = 'queued' OR (state = 'pending' AND run_at <= clock_timestamp())) AS oldest
  FROM holdfast.job WHERE state IN ('pending', 'queued', 'running') GROUP BY pool) j ON j.pool = p.no
LEFT JOIN LATERAL (SELECT count(DISTINCT m.no) AS workers, sum(i.slots) AS slots FROM holdfast.worker m
  JOIN holdfast.worker_instance i ON i.worker = m.no AND i.bye_at IS NULL AND i.seen_at > clock_timestamp()
    - make_interval(secs => greatest(holdfast.setting_of('lease_s'), holdfast.setting_of('liveness_s')))
  WHERE m.retired_at IS NULL AND p.no = ANY (m.pools)) w ON true
