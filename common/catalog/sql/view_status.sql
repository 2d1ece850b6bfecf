-- One row: the fleet's verdict, what needs attention, how fresh each source is (1000 at most), what runs, the plant.
WITH f AS MATERIALIZED (SELECT x AS facts, x.name, x.paused, x.pool,
    NOT x.paused AND (coalesce(x.breached, false) OR x.newest_state IN ('failed', 'partial', 'missed') IS TRUE) AS bad
  FROM holdfast.source_facts x),
w AS MATERIALIZED (SELECT m.name, m.pools, holdfast.worker_json(m) ->> 'state' AS state FROM holdfast.worker m WHERE m.retired_at IS NULL)
SELECT jsonb_build_object('schema', 'holdfast.status/1',
  'fleet', (SELECT document::jsonb ->> 'fleet' FROM holdfast.policy_version ORDER BY no DESC LIMIT 1),
  'now', holdfast.rfc3339(clock_timestamp()), 'ok', NOT EXISTS (SELECT FROM f WHERE bad),
  'attention', (SELECT coalesce(jsonb_agg(holdfast.attention_json(facts) ORDER BY name), '[]') FROM f WHERE bad),
  'sources', (SELECT jsonb_build_object('known', count(*), 'met', count(*) FILTER (WHERE NOT bad)) FROM f),
  'freshness', (SELECT coalesce(jsonb_agg(item ORDER BY name), '[]') FROM (SELECT name, jsonb_build_object('name', name, 'type', s -> 'type',
      'policy', s -> 'policy', 'state', s -> 'state', 'last_good_at', s -> 'last_good_at', 'last_backup', s -> 'last_backup',
      'last_bytes', s -> 'last_bytes', 'exposure_seconds', s -> 'exposure_seconds', 'rpo_seconds', s -> 'rpo_seconds',
      'paused_until', s -> 'paused_until', 'next_at', NULL) AS item
    FROM (SELECT name, holdfast.source_json(facts) AS s FROM f ORDER BY name LIMIT 1000) x) y),
  'running', (SELECT coalesce(jsonb_agg(holdfast.job_json(j) ORDER BY j.id), '[]') FROM holdfast.job j WHERE j.state = 'running'),
  'stalled', (SELECT coalesce(jsonb_agg(holdfast.job_text(l.job) ORDER BY l.job), '[]') FROM holdfast.lease l JOIN holdfast.job j ON j.id = l.job
      JOIN holdfast.source s ON s.no = j.source WHERE clock_timestamp() - l.moved_at > make_interval(secs => coalesce((s.spec ->> 'stall_s')::float8, 600))),
  'queue', (SELECT jsonb_build_object('waiting', count(*), 'oldest_seconds', coalesce(round(extract(epoch FROM clock_timestamp() - min(run_at))), 0))
            FROM holdfast.job WHERE state = 'queued' OR (state = 'pending' AND run_at <= clock_timestamp())),
  'unserved', (SELECT coalesce(jsonb_agg(jsonb_build_object('pool', pool, 'sources', n) ORDER BY pool), '[]')
    FROM (SELECT f.pool, count(*) AS n FROM f WHERE NOT f.paused AND NOT EXISTS (SELECT FROM w JOIN holdfast.pool p ON p.no = ANY (w.pools)
            WHERE p.name = f.pool AND w.state = 'alive') GROUP BY 1) u),
  'damaged', (SELECT coalesce(jsonb_agg(jsonb_build_object('store', r.store, 'rolled_back', r.rolled_back, 'packs', d.packs,
      'unknown_backups', u.backups) ORDER BY r.no), '[]')
    FROM holdfast.repository r, LATERAL (SELECT count(*) AS packs FROM holdfast.pack p WHERE p.repository = r.no AND p.damaged_at IS NOT NULL AND p.state <> 'deleted') d,
      LATERAL (SELECT count(*) AS backups FROM holdfast.orphan o WHERE o.repository = r.no AND o.state = 'seen' AND o.kind = 'marker' AND o.why = 'unknown') u
    WHERE r.rolled_back OR d.packs > 0 OR u.backups > 0),
  'retention', (SELECT coalesce(jsonb_agg(jsonb_build_object('store', x.store, 'overdue', x.n, 'frozen', x.frozen_reason,
      'seconds', round(extract(epoch FROM clock_timestamp() - x.since))) ORDER BY x.no), '[]') FROM (
    SELECT r.no, r.store, r.frozen_reason, count(*) AS n, min(b.expires_at) AS since FROM holdfast.backup b JOIN holdfast.repository r ON r.no = b.repository
        WHERE b.deleted_at IS NULL AND b.expires_at < clock_timestamp() - make_interval(secs => holdfast.setting_of('retention_overdue_s'))
          AND coalesce(b.held_until, '-infinity') < clock_timestamp() AND coalesce(b.locked_until, '-infinity') < clock_timestamp() GROUP BY r.no) x),
  'verification', (SELECT coalesce(jsonb_agg(x.item), '[]') FROM (SELECT holdfast.verify_json(v) AS item FROM holdfast.verify_facts v
    WHERE v.overdue IS NOT NULL OR v.failed > 0 ORDER BY v.source, v.level, v.store LIMIT 100) x),
  'proofs', (SELECT coalesce(jsonb_agg(x.item), '[]') FROM (SELECT holdfast.proof_json(p) AS item FROM holdfast.proofs p
    WHERE p.verdict NOT IN ('ok', 'never') ORDER BY p.source LIMIT 100) x),
  'workers', (SELECT jsonb_build_object('known', count(*), 'alive', count(*) FILTER (WHERE state IN ('alive', 'draining'))) FROM w),
  'scheduler', (SELECT jsonb_build_object('leader', host, 'term', term) FROM holdfast.leader WHERE name = 'scheduler' AND expires_at > clock_timestamp()))::text
