-- One row: the fleet's verdict, what needs attention, what runs, the plant.
SELECT jsonb_build_object('fleet', (SELECT document::jsonb ->> 'fleet' FROM holdfast.policy_version ORDER BY no DESC LIMIT 1),
  'now', holdfast.rfc3339(clock_timestamp()), 'ok', count(*) FILTER (WHERE bad) = 0,
  'attention', coalesce(jsonb_agg(holdfast.attention_json(f) ORDER BY name) FILTER (WHERE bad), '[]'),
  'sources', jsonb_build_object('known', count(*), 'met', count(*) FILTER (WHERE NOT bad)),
  'running', (SELECT coalesce(jsonb_agg(holdfast.job_json(j) ORDER BY j.id), '[]') FROM holdfast.job j WHERE j.state = 'running'),
  'queue', (SELECT jsonb_build_object('waiting', count(*), 'oldest_seconds', coalesce(round(extract(epoch FROM clock_timestamp() - min(run_at))), 0))
            FROM holdfast.job WHERE state = 'queued' OR (state = 'pending' AND run_at <= clock_timestamp())),
  'workers', (SELECT jsonb_build_object('known', count(*), 'alive', count(*) FILTER (WHERE holdfast.worker_json(w) ->> 'state' IN ('alive', 'draining')))
              FROM holdfast.worker w WHERE w.retired_at IS NULL),
  'scheduler', (SELECT jsonb_build_object('leader', host, 'term', term) FROM holdfast.leader WHERE name = 'scheduler' AND expires_at > clock_timestamp()))::text
FROM (SELECT x AS f, x.name, coalesce(x.breached, false) OR x.newest_state IN ('failed', 'partial', 'missed') IS TRUE AS bad
      FROM holdfast.source_facts x WHERE NOT x.paused) f_(f, name, bad)
