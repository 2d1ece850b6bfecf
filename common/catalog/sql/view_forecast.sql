-- One row: what a forecast asks of the living sources: place, limits, how long their last twenty good runs took.
SELECT jsonb_build_object(
  'limits', (SELECT coalesce(jsonb_object_agg(x.scope, x.n), '{}') FROM (SELECT l.scope, count(*) AS n FROM holdfast.limit_slot l GROUP BY l.scope) x),
  'slots', (SELECT coalesce(jsonb_object_agg(x.name, x.slots), '{}') FROM (
    SELECT p.name, sum(i.slots) AS slots FROM holdfast.pool p JOIN holdfast.worker m ON p.no = ANY (m.pools) AND m.retired_at IS NULL AND NOT m.drain
    JOIN holdfast.worker_instance i ON i.worker = m.no AND i.bye_at IS NULL AND i.seen_at > clock_timestamp()
      - make_interval(secs => greatest(holdfast.setting_of('lease_s'), holdfast.setting_of('liveness_s'))) GROUP BY p.name) x),
  'sources', (SELECT coalesce(jsonb_agg(jsonb_build_object('no', s.no, 'name', s.name, 'type', s.type, 'pool', p.name,
      'scopes', to_jsonb(holdfast.job_scopes(jsonb_populate_record(NULL::holdfast.job, jsonb_build_object('kind', 'backup', 'trigger', 'scheduled',
        'source', s.no, 'pool', s.pool, 'repository', s.repository, 'params', '{}'::jsonb)))),
      'runs', r.runs, 'seconds', r.seconds) ORDER BY s.no), '[]')
    FROM holdfast.source s JOIN holdfast.pool p ON p.no = s.pool
    LEFT JOIN LATERAL (SELECT count(*) AS runs, round(percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM y.ended_at - y.started_at))) AS seconds
      FROM (SELECT a.started_at, a.ended_at FROM holdfast.job j JOIN holdfast.job_attempt a ON a.job = j.id AND a.attempt = j.attempt
            WHERE j.source = s.no AND j.kind = 'backup' AND j.state IN ('completed', 'partial') ORDER BY j.id DESC LIMIT 20) y) r ON true
    WHERE s.retired_at IS NULL))::text
