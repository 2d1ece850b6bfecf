-- One row: what `holdfast doctor` judges: schema, workers, and who of them serves each pool, store and key set in use.
WITH w AS (SELECT m.name, m.pools, m.reader, holdfast.worker_json(m) AS j FROM holdfast.worker m WHERE m.retired_at IS NULL),
alive AS (SELECT w.*, j -> 'facts' AS facts FROM w WHERE j ->> 'state' = 'alive'),
used AS (SELECT s.no, s.pool, r.store, r.key_set FROM holdfast.source s JOIN holdfast.repository r ON r.no = s.repository WHERE s.retired_at IS NULL)
SELECT jsonb_build_object('now', holdfast.rfc3339(clock_timestamp()), 'server', current_setting('server_version'),
  'schema', (SELECT max(number) FROM holdfast.schema_version), 'policy', (SELECT max(no) FROM holdfast.policy_version),
  'sources', (SELECT count(*) FROM used),
  'leader', (SELECT host FROM holdfast.leader WHERE name = 'scheduler' AND expires_at > clock_timestamp()),
  'workers', (SELECT coalesce(jsonb_agg(j ORDER BY name), '[]') FROM w),
  'pools', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', p.name, 'paused', p.paused, 'sources', u.n,
      'workers', (SELECT count(*) FROM alive a WHERE p.no = ANY (a.pools))) ORDER BY p.name), '[]')
    FROM holdfast.pool p JOIN (SELECT pool, count(*) AS n FROM used GROUP BY 1) u ON u.pool = p.no),
  'stores', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', u.store, 'sources', u.n,
      'workers', (SELECT count(*) FROM alive a WHERE NOT a.facts ? 'stores' OR a.facts -> 'stores' ? u.store)) ORDER BY u.store), '[]')
    FROM (SELECT store, count(*) AS n FROM used GROUP BY 1) u),
  'key_sets', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', u.key_set, 'sources', u.n,
      'writers', (SELECT count(*) FROM alive a WHERE a.facts -> 'roles' ? 'write' AND (u.key_set = '' OR a.facts -> 'key_sets' ? u.key_set)),
      'readers', (SELECT count(*) FROM alive a WHERE a.reader AND a.facts -> 'roles' ? 'read' AND (u.key_set = '' OR a.facts -> 'key_sets' ? u.key_set)))
      ORDER BY u.key_set), '[]')
    FROM (SELECT key_set, count(*) AS n FROM used GROUP BY 1) u),
  'unserved', (SELECT coalesce(jsonb_agg(jsonb_build_object('source', x.name, 'sources', x.n, 'text', x.text) ORDER BY x.name), '[]')
    FROM (SELECT min(s.name) AS name, count(*) AS n, holdfast.source_nobody((array_agg(s ORDER BY s.name))[1]) AS text
          FROM holdfast.source s WHERE s.retired_at IS NULL GROUP BY s.need) x WHERE x.text IS NOT NULL),
  'repositories', (SELECT coalesce(jsonb_agg(jsonb_build_object('store', r.store, 'key_set', r.key_set, 'bound', r.id IS NOT NULL,
      'rolled_back', r.rolled_back,
      'damaged', (SELECT count(*) FROM holdfast.pack p WHERE p.repository = r.no AND p.damaged_at IS NOT NULL AND p.state <> 'deleted'),
      'unknown_backups', (SELECT count(*) FROM holdfast.orphan o WHERE o.repository = r.no AND o.state = 'seen' AND o.kind = 'marker' AND o.why = 'unknown'),
      'orphans', (SELECT count(*) FROM holdfast.orphan o WHERE o.repository = r.no AND o.state IN ('seen', 'moving') AND o.why <> 'foreign'
        AND o.last_seen - o.first_seen > make_interval(secs => holdfast.setting_of('orphan_age_s') * 3))) ORDER BY r.no), '[]')
    FROM holdfast.repository r WHERE (r.store, r.key_set) IN (SELECT store, key_set FROM used)),
  'retention', (SELECT jsonb_build_object('asked', count(*), 'overdue', coalesce(sum(f.overdue), 0), 'frozen', count(f.frozen),
      'silent', count(*) FILTER (WHERE coalesce(f.acted_at, f.covered_since) < clock_timestamp() - interval '49 hours'),
      'which', min(f.source) FILTER (WHERE f.overdue > 0 OR f.frozen IS NOT NULL
        OR coalesce(f.acted_at, f.covered_since) < clock_timestamp() - interval '49 hours'),
      'pruners', (SELECT count(*) FROM alive a WHERE a.facts -> 'roles' ? 'prune')) FROM holdfast.retention_facts f),
  'logs', (SELECT coalesce(jsonb_agg(jsonb_build_object('source', f.source, 'trouble', f.trouble, 'to_at', holdfast.rfc3339(f.to_at), 'lag', f.lag,
      'keeps', (SELECT b.receipt #> '{log,keeps}' FROM holdfast.backup b JOIN holdfast.log_batch l ON l.backup = b.id
        WHERE l.source = f.log_no ORDER BY b.sequence DESC LIMIT 1)) ORDER BY f.source), '[]')
    FROM (SELECT * FROM holdfast.log_facts ORDER BY trouble IS NULL, source LIMIT 100) f),
  'slots_left', (SELECT coalesce(jsonb_agg(jsonb_build_object('slot', o.slot, 'server', o.server, 'left_at', holdfast.rfc3339(o.left_at),
      'text', coalesce(o.trouble, 'it was not tried yet')) ORDER BY o.slot), '[]')
    FROM (SELECT * FROM holdfast.log_slots_left WHERE trouble IS NOT NULL OR left_at < clock_timestamp() - interval '10 minutes' ORDER BY left_at LIMIT 100) o),
  'proofs', (SELECT jsonb_build_object('sources', count(*), 'never', count(*) FILTER (WHERE p.proven_at IS NULL),
      'never_which', min(p.source) FILTER (WHERE p.proven_at IS NULL), 'failed', count(*) FILTER (WHERE p.verdict = 'failed'),
      'failed_which', min(p.source) FILTER (WHERE p.verdict = 'failed'), 'slow', count(*) FILTER (WHERE p.rto_met IS FALSE),
      'slow_which', min(p.source) FILTER (WHERE p.rto_met IS FALSE),
      'sandboxes', (SELECT count(*) FROM alive a WHERE a.facts -> 'sandbox' = 'true')) FROM holdfast.proofs p),
  'audit_waiting', (SELECT count(*) FROM holdfast.audit_event WHERE seq IS NULL AND at < clock_timestamp() - interval '10 seconds'))::text
