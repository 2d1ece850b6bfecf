-- What the API shows: JSON made of rows, with the names of protocol/api.def.

CREATE FUNCTION rfc3339(t timestamptz) RETURNS text LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT CASE WHEN isfinite(t) THEN to_char(t AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') END $$;

-- "jb_" and at least seven digits of Crockford's base32.
CREATE FUNCTION job_text(p_job bigint) RETURNS text LANGUAGE sql IMMUTABLE SET search_path = holdfast, pg_temp AS $$
  SELECT 'jb_' || regexp_replace(string_agg(substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', ((p_job >> (5 * g)) & 31)::int + 1, 1), '' ORDER BY g DESC),
                                 '^0+(?=.{7})', '') FROM generate_series(0, 12) g WHERE p_job IS NOT NULL HAVING count(*) > 0 $$;

-- "bk_" and the 26 digits of a ULID: 128 bits behind two zero bits.
CREATE FUNCTION backup_text(p_id uuid) RETURNS text LANGUAGE sql IMMUTABLE SET search_path = holdfast, pg_temp AS $$
  SELECT 'bk_' || string_agg(substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', (substring(b FROM g * 5 + 1 FOR 5)::bit(5))::int + 1, 1), '' ORDER BY g)
  FROM (SELECT B'00' || ('x' || replace(p_id::text, '-', ''))::bit(128) AS b) x, generate_series(0, 25) g
  WHERE p_id IS NOT NULL HAVING count(*) > 0 $$;

CREATE FUNCTION job_json(j job) RETURNS jsonb LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT jsonb_build_object('id', job_text(j.id), 'kind', j.kind, 'source', s.name, 'state', j.state, 'trigger', j.trigger,
    'asked_by', j.actor, 'schedule', j.schedule, 'slot', rfc3339(j.slot), 'pool', p.name, 'worker', w.name, 'attempt', j.attempt,
    'failures', j.failures, 'losses', j.losses, 'deferrals', j.deferrals, 'created_at', rfc3339(j.created_at),
    'run_at', rfc3339(j.run_at), 'started_at', rfc3339(a.started_at), 'finished_at', rfc3339(j.finished_at),
    'seconds', round(extract(epoch FROM coalesce(a.ended_at, clock_timestamp()) - a.started_at)::numeric, 3),
    'cancel_requested', j.cancel_requested,
    'reason', CASE WHEN j.state NOT IN ('running', 'completed', 'partial') THEN
       (SELECT d.text FROM decision d WHERE d.job = j.id ORDER BY d.last_at DESC, d.id DESC LIMIT 1) END,
    'progress', CASE WHEN l.job IS NOT NULL THEN jsonb_build_object('phase', l.phase, 'bytes_done', l.bytes_done,
       'bytes_total', l.bytes_total, 'total_basis', l.total_basis, 'items_done', l.items_done, 'errors', l.errors, 'stored', l.stored,
       'moved_at', rfc3339(l.moved_at)) END,
    'error', CASE WHEN j.error IS NOT NULL OR j.cause IS NOT NULL THEN
       jsonb_build_object('code', j.code, 'cause', j.cause, 'text', j.error) END,
    'result', CASE WHEN b.id IS NOT NULL THEN jsonb_build_object('bytes', b.bytes, 'new_bytes', b.new_bytes,
       'stored_bytes', b.stored_bytes, 'entries', b.entries, 'issues', b.issue_count) END,
    'backup', backup_text(coalesce(b.id, j.backup)),
    'answer', (SELECT x.answer::jsonb FROM job_answer x WHERE x.job = j.id AND (x.expires_at IS NULL OR x.expires_at > clock_timestamp())))
  FROM pool p LEFT JOIN source s ON s.no = j.source LEFT JOIN job_attempt a ON a.job = j.id AND a.attempt = j.attempt
  LEFT JOIN worker w ON w.no = a.worker LEFT JOIN lease l ON l.job = j.id LEFT JOIN backup b ON b.job = j.id WHERE p.no = j.pool $$;

CREATE FUNCTION backup_json(b backup) RETURNS jsonb LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT jsonb_build_object('id', backup_text(b.id), 'source', s.name, 'type', s.type, 'state', b.outcome, 'job', job_text(b.job),
    'schedule', b.schedule, 'policy', b.policy, 'consistent_at', rfc3339(b.consistent_at), 'started_at', rfc3339(b.started_at),
    'committed_at', rfc3339(b.committed_at), 'position', nullif(b.position, ''), 'sequence', b.sequence, 'entries', b.entries,
    'bytes', b.bytes, 'new_bytes', b.new_bytes, 'stored_bytes', b.stored_bytes, 'store', r.store, 'repository', r.id,
    'key_set', nullif(b.key_set, ''), 'worker', w.name, 'issue_count', b.issue_count, 'marked', b.marker_at IS NOT NULL,
    'expires_at', rfc3339(b.expires_at), 'held_until', rfc3339(b.held_until), 'deleted_at', rfc3339(b.deleted_at),
    'verified', (SELECT v.level || ' ' || v.result FROM verification v WHERE v.backup = b.id ORDER BY v.finished_at DESC, v.id DESC LIMIT 1))
  FROM source s, repository r, job_attempt a LEFT JOIN worker w ON w.no = a.worker
  WHERE s.no = b.source AND r.no = b.repository AND a.job = b.job AND a.attempt = b.attempt $$;

-- Good: completed, its stored objects were read back, and no later proof failed. Partial never counts.
CREATE FUNCTION backup_good(b backup) RETURNS boolean LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT b.outcome = 'completed' AND b.deleted_at IS NULL
    AND EXISTS (SELECT FROM verification v WHERE v.backup = b.id AND v.level = 'stored' AND v.result = 'ok')
    AND NOT EXISTS (SELECT FROM verification f WHERE f.backup = b.id AND f.result = 'failed'
      AND NOT EXISTS (SELECT FROM verification g WHERE g.backup = b.id AND g.level = f.level AND g.result = 'ok' AND g.finished_at > f.finished_at)) $$;

-- One row a living source with everything that status, sources and metrics say of it.
CREATE VIEW source_facts AS
  SELECT s.no, s.name, s.type, s.policy, s.owner, s.labels, s.spec, s.rpo_s, s.rto_s, s.covered_since, s.paused_until, s.paused_reason,
    p.name AS pool, r.store, nullif(r.key_set, '') AS key_set,
    good.id AS good, good.consistent_at AS good_at, good.bytes, good.stored_bytes, good.new_bytes,
    extract(epoch FROM good.committed_at - good.started_at) AS seconds,
    newest.id AS newest_job, newest.state AS newest_state, newest.cause AS newest_cause, newest.error AS newest_error,
    running.id AS running_job,
    (SELECT count(*) FROM job j WHERE j.source = s.no AND j.kind = 'backup' AND j.state IN ('failed', 'partial', 'missed')
       AND j.id > coalesce((SELECT max(k.id) FROM job k WHERE k.source = s.no AND k.kind = 'backup' AND k.state = 'completed'), 0)) AS failures,
    (SELECT count(*) FROM job j WHERE j.source = s.no AND j.state = 'missed') AS missed,
    coalesce(s.paused_until > clock_timestamp(), false) AS paused,
    coalesce(clock_timestamp() - good.consistent_at, clock_timestamp() - s.covered_since) > make_interval(secs => s.rpo_s) AS breached
  FROM source s JOIN pool p ON p.no = s.pool JOIN repository r ON r.no = s.repository
  LEFT JOIN LATERAL (SELECT b.* FROM backup b WHERE b.source = s.no AND backup_good(b) ORDER BY b.consistent_at DESC LIMIT 1) good ON true
  LEFT JOIN LATERAL (SELECT j.* FROM job j WHERE j.source = s.no AND j.kind = 'backup' AND j.finished_at IS NOT NULL
                     AND j.state NOT IN ('skipped', 'cancelled') ORDER BY j.id DESC LIMIT 1) newest ON true
  LEFT JOIN LATERAL (SELECT j.id FROM job j WHERE j.source = s.no AND j.kind = 'backup' AND j.state = 'running' LIMIT 1) running ON true
  WHERE s.retired_at IS NULL;

CREATE FUNCTION source_state(f source_facts) RETURNS text LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT CASE WHEN f.running_job IS NOT NULL THEN 'running' WHEN f.paused THEN 'paused'
    WHEN f.good IS NOT NULL AND f.breached THEN 'late' WHEN f.newest_state IN ('failed', 'partial', 'missed') THEN 'failing'
    WHEN f.good IS NULL THEN 'never' ELSE 'ok' END $$;

CREATE FUNCTION source_json(f source_facts) RETURNS jsonb LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT jsonb_build_object('name', f.name, 'type', f.type, 'policy', f.policy, 'owner', f.owner, 'labels', f.labels, 'pool', f.pool,
    'store', f.store, 'key_set', f.key_set, 'state', source_state(f), 'rpo_seconds', f.rpo_s, 'rto_seconds', f.rto_s,
    'exposure_seconds', round(extract(epoch FROM clock_timestamp() - coalesce(f.good_at, f.covered_since))),
    'last_good_at', rfc3339(f.good_at), 'last_backup', backup_text(f.good), 'last_bytes', f.bytes,
    'consecutive_failures', f.failures, 'paused_until', CASE WHEN f.paused THEN rfc3339(f.paused_until) END,
    'paused_reason', CASE WHEN f.paused THEN f.paused_reason END, 'last_job', job_text(f.newest_job),
    'schedules', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', c.name, 'at', c.at, 'kind', c.kind, 'timezone', c.timezone,
        'method', coalesce(c.params -> 'method', f.spec #> '{config,method}'), 'last_slot', rfc3339(c.last_slot), 'next_at', NULL)
        ORDER BY c.name), '[]') FROM schedule c WHERE c.source = f.no)) $$;

-- What a person should look at, with the cause and what to type next.
CREATE FUNCTION attention_json(f source_facts) RETURNS jsonb LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT jsonb_build_object('source', f.name,
    'state', CASE WHEN f.good IS NULL AND f.breached THEN 'never_succeeded' WHEN f.breached THEN 'rpo_breached' ELSE 'failing' END,
    'exposure_seconds', round(extract(epoch FROM clock_timestamp() - coalesce(f.good_at, f.covered_since))), 'rpo_seconds', f.rpo_s,
    'consecutive_failures', f.failures,
    'cause', jsonb_build_object('code', coalesce(f.newest_cause, why.code, 'unknown'),
      'message', coalesce(CASE WHEN f.newest_state IN ('failed', 'partial', 'missed') THEN f.newest_error END, why.text, 'no good backup in time'),
      'job', job_text(coalesce(f.newest_job, why.job))),
    'next', CASE WHEN f.newest_state = 'failed' THEN jsonb_build_array('holdfast job logs ' || job_text(f.newest_job), 'holdfast source test ' || f.name)
                 ELSE jsonb_build_array('holdfast why ' || f.name, 'holdfast run ' || f.name) END)
  FROM (SELECT 1) one LEFT JOIN LATERAL (SELECT d.code, d.text, d.job FROM decision d WHERE d.source = f.no AND d.verdict <> 'ran'
    ORDER BY d.last_at DESC, d.id DESC LIMIT 1) why ON true $$;

CREATE FUNCTION worker_json(w worker) RETURNS jsonb LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT jsonb_build_object('name', w.name, 'host', w.host, 'reader', w.reader,
    'state', CASE WHEN i.id IS NULL THEN 'never' WHEN NOT i.alive THEN 'silent' WHEN w.drain THEN 'draining' ELSE 'alive' END,
    'pools', (SELECT jsonb_agg(p.name ORDER BY p.name) FROM pool p WHERE p.no = ANY (w.pools)), 'sources', to_jsonb(w.sources),
    'roles', coalesce(i.facts -> 'roles', '[]'),
    'running', (SELECT count(*) FROM lease l WHERE l.worker = w.no), 'slots', i.slots, 'seen_at', rfc3339(i.seen_at),
    'version', i.version, 'skew_seconds', i.skew_ms / 1000.0, 'instance', i.id, 'facts', i.facts)
  FROM (SELECT 1) one LEFT JOIN LATERAL (SELECT x.*, x.bye_at IS NULL AND x.seen_at > clock_timestamp()
      - make_interval(secs => greatest(setting_of('lease_s'), setting_of('liveness_s'))) AS alive
    FROM worker_instance x WHERE x.worker = w.no ORDER BY x.seen_at DESC LIMIT 1) i ON true $$;

GRANT SELECT ON source_facts TO holdfast_scheduler;
GRANT SELECT ON audit_breaks TO holdfast_scheduler, holdfast_auditor;
GRANT EXECUTE ON FUNCTION rfc3339, job_text, backup_text, job_json, backup_json, backup_good, source_state, source_json, attention_json,
  worker_json TO holdfast_scheduler;
