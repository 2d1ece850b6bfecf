-- What an auditor asks, each question one view; role holdfast_auditor reads these and nothing else.
-- The views run with their owner's rights; rpo_report is a function because it takes a period.

-- What ran or did not: when, where, by whom asked, what it stored, and why not.
CREATE VIEW audit_runs AS
  SELECT job_text(j.id) AS job, j.kind, s.name AS source, j.trigger, j.actor AS asked_by, j.slot, j.created_at, a.started_at,
    j.finished_at, j.state, w.name AS worker, w.host, j.attempt AS attempts, b.bytes, b.new_bytes, r.store, backup_text(b.id) AS backup,
    coalesce(CASE WHEN j.state IN ('failed', 'partial') THEN j.error END,
      (SELECT d.text FROM decision d WHERE d.job = j.id AND d.verdict <> 'ran' ORDER BY d.last_at DESC, d.id DESC LIMIT 1)) AS reason
  FROM job j LEFT JOIN source s ON s.no = j.source LEFT JOIN job_attempt a ON a.job = j.id AND a.attempt = j.attempt
  LEFT JOIN worker w ON w.no = a.worker LEFT JOIN backup b ON b.job = j.id LEFT JOIN repository r ON r.no = j.repository
  ORDER BY j.id DESC;

-- Who did what, when, from where, why, allowed or denied.
CREATE VIEW audit_access AS
  SELECT seq, at, actor, actor_kind, via, client_ip, action, object, result, reason, detail FROM audit_event ORDER BY id DESC;

-- Achieved RPO. What would have been lost at an instant is that instant minus the consistency point of
-- the newest good backup that was finished then; so the worst moment is just before the next finishes.
CREATE FUNCTION rpo_report(p_from timestamptz, p_to timestamptz)
  RETURNS TABLE (source text, policy text, rpo interval, good int, failed int, missed int, worst_exposure interval,
                 exposure_now interval, verdict text)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
  WITH fine AS (
    SELECT b.source, b.consistent_at, least(coalesce(lead(b.committed_at) OVER (PARTITION BY b.source ORDER BY b.committed_at), p_to), p_to)
      AS covered_to FROM backup b WHERE b.outcome = 'completed' AND b.committed_at < p_to
      AND NOT EXISTS (SELECT FROM verification v WHERE v.backup = b.id AND v.result = 'failed')),
  worst AS (
    SELECT f.source, max(covered_to - consistent_at) FILTER (WHERE covered_to >= p_from) AS worst, p_to - max(consistent_at) AS at_end,
      count(*) FILTER (WHERE consistent_at >= p_from)::int AS good FROM fine f GROUP BY 1),
  jobs AS (
    SELECT j.source, count(*) FILTER (WHERE state IN ('failed', 'partial'))::int AS failed, count(*) FILTER (WHERE state = 'missed')::int AS missed
    FROM job j WHERE j.kind = 'backup' AND j.finished_at >= p_from AND j.finished_at < p_to GROUP BY 1)
  SELECT s.name, s.policy, make_interval(secs => s.rpo_s), coalesce(w.good, 0), coalesce(j.failed, 0), coalesce(j.missed, 0), w.worst, w.at_end, v.verdict
  FROM source s LEFT JOIN worst w ON w.source = s.no LEFT JOIN jobs j ON j.source = s.no
  CROSS JOIN LATERAL (SELECT CASE WHEN s.policy IS NULL THEN 'NO POLICY' WHEN w.at_end IS NULL THEN 'NEVER BACKED UP'
    WHEN s.rpo_s IS NULL THEN 'no objective' WHEN w.at_end > make_interval(secs => s.rpo_s) THEN 'BREACHED NOW'
    WHEN w.worst > make_interval(secs => s.rpo_s) THEN 'BREACHED IN PERIOD' ELSE 'met' END AS verdict) v
  WHERE s.retired_at IS NULL
  ORDER BY array_position(ARRAY['NO POLICY', 'NEVER BACKED UP', 'BREACHED NOW', 'BREACHED IN PERIOD', 'no objective', 'met'], v.verdict), s.name $$;

-- The last proof by restoring, its measured time against the RTO.
CREATE VIEW audit_restore_tests AS
  SELECT s.name AS source, make_interval(secs => s.rto_s) AS rto, v.finished_at AS last_ok, backup_text(v.backup) AS backup,
    v.finished_at - v.started_at AS took, v.level, v.reviewed_by,
    CASE WHEN v.id IS NULL THEN 'NEVER TESTED' WHEN v.finished_at - v.started_at > make_interval(secs => s.rto_s) THEN 'SLOWER THAN RTO'
         WHEN v.reviewed_by IS NULL THEN 'ok, not reviewed' ELSE 'ok' END AS verdict
  FROM source s LEFT JOIN LATERAL (
    SELECT x.* FROM verification x JOIN backup b ON b.id = x.backup WHERE b.source = s.no AND x.level IN ('restore', 'query')
      AND x.result = 'ok' ORDER BY x.finished_at DESC LIMIT 1) v ON true
  WHERE s.retired_at IS NULL ORDER BY s.name;

-- Kept too long, deleted too early, deleted while held or locked.
CREATE VIEW audit_retention AS
  SELECT s.name AS source, r.store, backup_text(b.id) AS backup, f.finding, f.by
  FROM backup b JOIN source s ON s.no = b.source JOIN repository r ON r.no = b.repository
  CROSS JOIN LATERAL (
    SELECT 'KEPT TOO LONG' AS finding, now() - b.expires_at AS by
      WHERE b.deleted_at IS NULL AND b.expires_at < now() - interval '1 day' AND coalesce(b.held_until, '-infinity') < now()
    UNION ALL SELECT 'DELETED EARLY', b.expires_at - b.deleted_at WHERE b.deleted_at < b.expires_at
    UNION ALL SELECT 'DELETED WHILE HELD OR LOCKED', greatest(b.held_until, b.locked_until) - b.deleted_at
      WHERE b.deleted_at < greatest(b.held_until, b.locked_until)) f;

-- Every known source: who covers it, and whether anything is there.
CREATE VIEW audit_coverage AS
  SELECT s.name AS source, s.type, s.owner, coalesce(s.policy, '-') AS policy,
    CASE WHEN s.policy IS NULL THEN 'UNCOVERED'
         WHEN NOT EXISTS (SELECT FROM backup b WHERE b.source = s.no AND b.outcome = 'completed' AND b.deleted_at IS NULL)
         THEN 'COVERED, NO BACKUP YET' ELSE 'covered' END AS state, s.covered_since
  FROM source s WHERE s.retired_at IS NULL ORDER BY s.policy IS NULL DESC, s.name;

CREATE VIEW audit_encryption AS
  SELECT s.name AS source, r.store, coalesce(nullif(b.key_set, ''), 'NONE') AS key_set, count(*) AS backups, sum(b.new_bytes) AS bytes,
    CASE WHEN b.key_set <> '' THEN 'ok' WHEN s.spec ->> 'key_set' IS NULL THEN 'allowed by policy' ELSE 'VIOLATION' END AS verdict
  FROM backup b JOIN source s ON s.no = b.source JOIN repository r ON r.no = b.repository
  WHERE b.deleted_at IS NULL GROUP BY 1, 2, 3, b.key_set, s.spec ORDER BY 6 DESC, 1;

-- Each failure, and when the source had a good backup again.
CREATE VIEW audit_failures AS
  SELECT s.name AS source, job_text(j.id) AS failed, coalesce(j.slot, j.created_at) AS at, j.state, left(coalesce(j.error, j.cause), 200) AS error,
    n.committed_at - coalesce(j.slot, j.created_at) AS recovered_after, backup_text(n.id) AS recovered_by
  FROM job j JOIN source s ON s.no = j.source LEFT JOIN LATERAL (
    SELECT b.id, b.committed_at FROM backup b WHERE b.source = j.source AND b.outcome = 'completed' AND b.committed_at > coalesce(j.slot, j.created_at)
    ORDER BY b.committed_at LIMIT 1) n ON true
  WHERE j.kind = 'backup' AND j.state IN ('failed', 'partial', 'missed') ORDER BY j.id DESC;

GRANT SELECT ON audit_runs, audit_access, audit_restore_tests, audit_retention, audit_coverage, audit_encryption, audit_failures
  TO holdfast_auditor, holdfast_scheduler;
GRANT EXECUTE ON FUNCTION rpo_report TO holdfast_auditor, holdfast_scheduler;
-- A view lends its owner's rights to tables, not to the functions in it; these compute and read nothing.
GRANT EXECUTE ON FUNCTION job_text, backup_text, audit_digest TO holdfast_auditor;
