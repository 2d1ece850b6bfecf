-- One row: what /metrics exports of the catalogue.
SELECT jsonb_build_object(
  'sources', (SELECT coalesce(jsonb_agg(jsonb_build_object('source', f.name, 'type', f.type, 'policy', f.policy, 'pool', f.pool, 'owner', f.owner,
      'store', f.store, 'last_success', coalesce(extract(epoch FROM f.good_at), 0), 'covered_since', extract(epoch FROM f.covered_since),
      'rpo', f.rpo_s, 'rto', f.rto_s, 'state', f.newest_state, 'failures', f.failures, 'missed', f.missed, 'paused', f.paused::int,
      'bytes', f.bytes, 'stored_bytes', f.stored_bytes, 'seconds', f.seconds) ORDER BY f.name), '[]') FROM holdfast.source_facts f),
  'jobs', (SELECT coalesce(jsonb_agg(x), '[]') FROM (SELECT j.kind, p.name AS pool, j.state, count(*) AS jobs FROM holdfast.job j
      JOIN holdfast.pool p ON p.no = j.pool GROUP BY 1, 2, 3) x),
  'stalled', (SELECT count(*) FROM holdfast.lease l JOIN holdfast.job j ON j.id = l.job JOIN holdfast.source s ON s.no = j.source
      WHERE clock_timestamp() - l.moved_at > make_interval(secs => coalesce((s.spec ->> 'stall_s')::float8, 600))),
  'leases_lost', (SELECT count(*) FROM holdfast.job_attempt WHERE outcome = 'lost'),
  'retries', (SELECT coalesce(jsonb_object_agg(outcome, n), '{}') FROM (SELECT outcome, count(*) AS n FROM holdfast.job_attempt
      WHERE outcome IN ('failed', 'lost', 'released') GROUP BY 1) x),
  'uncovered', (SELECT count(*) FROM holdfast.source_facts WHERE policy IS NULL),
  'unencrypted', (SELECT count(*) FROM holdfast.backup WHERE key_set = '' AND deleted_at IS NULL),
  'retention_overdue', (SELECT coalesce(jsonb_agg(jsonb_build_object('store', x.store, 'overdue', x.n) ORDER BY x.no), '[]') FROM (
    SELECT r.no, r.store, r.frozen_reason, count(*) AS n, min(b.expires_at) AS since FROM holdfast.backup b JOIN holdfast.repository r ON r.no = b.repository
      WHERE b.deleted_at IS NULL AND b.expires_at < clock_timestamp() - make_interval(secs => holdfast.setting_of('retention_overdue_s'))
        AND coalesce(b.held_until, '-infinity') < clock_timestamp() AND coalesce(b.locked_until, '-infinity') < clock_timestamp() GROUP BY r.no) x),
  'audit_unchained', (SELECT count(*) FROM holdfast.audit_event WHERE seq IS NULL))::text
