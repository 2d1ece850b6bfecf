-- One row: what the catalogue knows and a fleet file cannot: the clock, who serves which place, and of each source what a usual run takes
-- and stores (the median of its last ten), what waits and what there is.
WITH alive AS (SELECT w.no, w.pools, holdfast.worker_json(w) ->> 'state' IN ('alive', 'draining') AS serves,
    (SELECT max(i.seen_at) FROM holdfast.worker_instance i WHERE i.worker = w.no) AS seen FROM holdfast.worker w WHERE w.retired_at IS NULL),
usual AS (SELECT s.name, percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM b.committed_at - b.started_at)) AS seconds,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY b.stored_bytes) AS stored
  FROM holdfast.source s CROSS JOIN LATERAL (SELECT x.started_at, x.committed_at, x.stored_bytes FROM holdfast.backup x
    WHERE x.source = s.no AND x.deleted_at IS NULL ORDER BY x.consistent_at DESC LIMIT 10) b WHERE s.retired_at IS NULL GROUP BY s.name)
SELECT jsonb_build_object('now_s', extract(epoch FROM clock_timestamp())::bigint,
  'seconds', coalesce((SELECT jsonb_object_agg(name, seconds) FROM usual), '{}'),
  'stored', coalesce((SELECT jsonb_object_agg(name, stored) FROM usual), '{}'),
  'places', coalesce((SELECT jsonb_object_agg(p.name, jsonb_build_object('workers', (SELECT count(*) FROM alive a WHERE a.serves AND p.no = ANY (a.pools)),
      'seen', (SELECT to_char(max(a.seen) AT TIME ZONE 'UTC', 'YYYY-MM-DD') FROM alive a WHERE p.no = ANY (a.pools)))) FROM holdfast.pool p), '{}'),
  'sources', coalesce((SELECT jsonb_object_agg(s.name, jsonb_build_object('retired', s.retired_at IS NOT NULL,
      'waiting', (SELECT count(*) FROM holdfast.job j WHERE j.source = s.no AND j.kind = 'backup' AND j.state IN ('pending', 'queued')),
      'backups', (SELECT count(*) FROM holdfast.backup b WHERE b.source = s.no AND b.deleted_at IS NULL))) FROM holdfast.source s), '{}'))::text
