-- The write-ahead log of a source, and the instants a restore can reach with it. A source whose spec names another in
-- log_of is that one's log: each backup of it is a batch, and what a batch holds is read from its receipt ("log"),
-- so a rebuild from a store makes these rows again. Segments are kept as long as a base backup needs them. A batch
-- that begins after what was stored before leaves a hole: it is told, and a new base backup is asked for.
CREATE TABLE log_batch (
  backup     uuid PRIMARY KEY REFERENCES backup,
  source     int NOT NULL REFERENCES source,
  system     text NOT NULL,                                          -- the cluster's own identifier
  timeline   bigint NOT NULL,                                        -- on which it ends
  start_lsn  pg_lsn NOT NULL,
  end_lsn    pg_lsn NOT NULL,
  at         timestamptz NOT NULL,                                   -- what was committed by then is in it or before it
  lag        bigint NOT NULL,                                        -- bytes that its slot held back on the server
  slot       text NOT NULL,
  gap_from   pg_lsn,
  gap_to     pg_lsn);
CREATE INDEX log_batch_of_source ON log_batch(source, system, timeline, end_lsn);
CREATE INDEX log_batch_gap ON log_batch(source) WHERE gap_from IS NOT NULL;

-- One row a file of the log: the longest there is, in the newest batch that has it.
CREATE TABLE log_segment (
  source     int NOT NULL REFERENCES source,
  system     text NOT NULL,
  timeline   bigint NOT NULL,
  start_lsn  pg_lsn NOT NULL,
  end_lsn    pg_lsn NOT NULL,
  name       text NOT NULL,
  sha256     bytea NOT NULL CHECK (octet_length(sha256) = 32),
  backup     uuid NOT NULL REFERENCES backup,
  PRIMARY KEY (source, system, timeline, start_lsn));
CREATE INDEX log_segment_of_batch ON log_segment(backup);

CREATE TABLE log_timeline (
  source     int NOT NULL REFERENCES source,
  system     text NOT NULL,
  timeline   bigint NOT NULL,
  parent     bigint NOT NULL,
  switch_lsn pg_lsn NOT NULL,                                        -- where it left its parent
  PRIMARY KEY (source, system, timeline));

-- The source whose log this one is.
CREATE FUNCTION log_base(p_source int) RETURNS int LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT b.no FROM source l JOIN source b ON b.name = l.spec ->> 'log_of' WHERE l.no = p_source $$;

-- A hole: somebody hears of it, and the next base backup begins a window without it.
CREATE FUNCTION log_gap_tell(b backup, p_from pg_lsn, p_to pg_lsn) RETURNS void LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  base source;
  number bigint;
BEGIN
  SELECT * INTO base FROM source WHERE no = log_base(b.source) AND retired_at IS NULL;
  INSERT INTO event(kind, source, job, data) VALUES ('alert', coalesce(base.no, b.source), b.job,
    jsonb_build_object('code', 'log.gap', 'from', p_from, 'to', p_to,
      'text', format('the log from %s to %s was never stored: no restore crosses it', p_from, p_to)));
  IF base.no IS NULL OR EXISTS (SELECT FROM job j WHERE j.source = base.no AND j.kind = 'backup' AND j.state IN ('pending', 'queued')) THEN
    RETURN;
  END IF;
  number := job_new('backup', 'retry', base, NULL, NULL, '{}', NULL, 'holdfast', NULL, 0, 'pending', NULL, NULL, NULL);
  PERFORM decide(j, 'ran', 'log.gap', format('the log has a hole from %s to %s: a base backup after it begins a new window', p_from, p_to))
    FROM job j WHERE j.id = number;
END $$;

CREATE FUNCTION log_take_segments(b backup, p_log jsonb) RETURNS void LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  bad record;
BEGIN
  -- Only a commit is refused: a rebuild takes what a store has, the longest and newest of it.
  SELECT g.name, encode(g.sha256, 'hex') AS ours, x.item ->> 'sha256' AS theirs INTO bad
    FROM jsonb_array_elements(p_log -> 'segments') AS x(item)
    JOIN log_segment g ON g.source = b.source AND g.system = p_log ->> 'system' AND g.timeline = (x.item ->> 'timeline')::bigint
      AND g.start_lsn = (x.item ->> 'start')::pg_lsn AND g.end_lsn = (x.item ->> 'end')::pg_lsn
    WHERE encode(g.sha256, 'hex') <> x.item ->> 'sha256' AND EXISTS (SELECT FROM lease l WHERE l.job = b.job) ORDER BY g.name LIMIT 1;
  IF bad.name IS NOT NULL THEN
    RAISE EXCEPTION 'segment % was stored with sha256 % and now has %: two servers write one timeline', bad.name, left(bad.ours, 16), left(bad.theirs, 16)
      USING ERRCODE = 'HF003', DETAIL = 'log.other_bytes';
  END IF;
  INSERT INTO log_segment AS g (source, system, timeline, start_lsn, end_lsn, name, sha256, backup)
    SELECT b.source, p_log ->> 'system', (x.item ->> 'timeline')::bigint, (x.item ->> 'start')::pg_lsn, (x.item ->> 'end')::pg_lsn,
      x.item ->> 'name', decode(x.item ->> 'sha256', 'hex'), b.id
    FROM jsonb_array_elements(p_log -> 'segments') AS x(item)
    ON CONFLICT (source, system, timeline, start_lsn) DO UPDATE SET end_lsn = excluded.end_lsn, name = excluded.name, sha256 = excluded.sha256,
      backup = excluded.backup
      WHERE excluded.end_lsn > g.end_lsn OR (excluded.end_lsn = g.end_lsn AND excluded.backup > g.backup);
END $$;

CREATE FUNCTION log_take() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  log jsonb := NEW.receipt -> 'log';
BEGIN
  INSERT INTO log_batch(backup, source, system, timeline, start_lsn, end_lsn, at, lag, slot, gap_from, gap_to)
    VALUES (NEW.id, NEW.source, log ->> 'system', (log ->> 'timeline')::bigint, (log ->> 'start')::pg_lsn, (log ->> 'end')::pg_lsn,
      NEW.consistent_at, coalesce((log ->> 'lag')::bigint, 0), coalesce(log ->> 'slot', ''), (log #>> '{gap,from}')::pg_lsn,
      (log #>> '{gap,to}')::pg_lsn);
  PERFORM log_take_segments(NEW, log);
  INSERT INTO log_timeline(source, system, timeline, parent, switch_lsn)
    SELECT NEW.source, log ->> 'system', (x.item ->> 'timeline')::bigint, (x.item ->> 'parent')::bigint, (x.item ->> 'switch')::pg_lsn
    FROM jsonb_array_elements(coalesce(log -> 'histories', '[]')) AS x(item) ON CONFLICT DO NOTHING;
  IF log ? 'gap' AND EXISTS (SELECT FROM lease l WHERE l.job = NEW.job) THEN
    PERFORM log_gap_tell(NEW, (log #>> '{gap,from}')::pg_lsn, (log #>> '{gap,to}')::pg_lsn);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER log_take AFTER INSERT ON backup FOR EACH ROW WHEN (jsonb_typeof(NEW.receipt -> 'log') = 'object') EXECUTE FUNCTION log_take();

-- Where the next batch goes on.
CREATE FUNCTION log_from(p_source int) RETURNS jsonb LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT jsonb_build_object('system', l.system, 'timeline', l.timeline, 'end', l.end_lsn::text,
      'at_us', (extract(epoch FROM l.at) * 1000000)::bigint)
    FROM log_batch l JOIN backup b ON b.id = l.backup WHERE l.source = p_source ORDER BY b.sequence DESC, b.committed_at DESC LIMIT 1 $$;

ALTER FUNCTION job_order(job) RENAME TO job_order_any;
CREATE FUNCTION job_order(j job) RETURNS jsonb LANGUAGE plpgsql STABLE SET search_path = holdfast, pg_temp AS $$
DECLARE
  whole jsonb := job_order_any(j);
  log jsonb;
BEGIN
  IF j.kind = 'backup' AND whole #>> '{source,config,method}' = 'wal' THEN
    log := log_from(j.source);
    IF log IS NOT NULL THEN
      RETURN jsonb_set(whole, '{params,log}', log);
    END IF;
  END IF;
  RETURN whole;
END $$;

-- --- what stays -----------------------------------------------------------------------------------

-- Where a base backup needs the log from; nothing for any other backup.
CREATE FUNCTION log_needs(b backup) RETURNS TABLE (system text, timeline bigint, start_lsn pg_lsn, stop_lsn pg_lsn) LANGUAGE sql STABLE
  SET search_path = holdfast, pg_temp AS $$
  SELECT b.receipt ->> 'system', (b.receipt ->> 'timeline')::bigint, (b.receipt ->> 'start')::pg_lsn, (b.receipt ->> 'stop')::pg_lsn
    WHERE b.receipt ?& ARRAY['system', 'timeline', 'start', 'stop'] $$;

-- Does a base backup that is there need something of this batch? Without any base backup all of it waits for the first.
CREATE FUNCTION log_needed(p_backup uuid) RETURNS boolean LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT EXISTS (SELECT FROM log_segment g WHERE g.backup = p_backup AND (
      NOT EXISTS (SELECT FROM backup b CROSS JOIN LATERAL log_needs(b) n WHERE b.source = log_base(g.source) AND b.deleted_at IS NULL AND n.system = g.system)
      OR EXISTS (SELECT FROM backup b CROSS JOIN LATERAL log_needs(b) n WHERE b.source = log_base(g.source) AND b.deleted_at IS NULL
        AND n.system = g.system AND n.start_lsn < g.end_lsn))) $$;

CREATE OR REPLACE FUNCTION retention_backups(p_source int, p_repository int)
  RETURNS TABLE (id uuid, at timestamptz, started_at timestamptz, committed_at timestamptz, sequence bigint, schedule text, quality int,
    proved boolean, in_use boolean, held_until timestamptz, locked_until timestamptz, bytes bigint, outcome text)
  LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT b.id, b.consistent_at, b.started_at, b.committed_at, b.sequence, b.schedule,
    CASE WHEN b.outcome <> 'completed' THEN 3 WHEN place_good(b.id, p_repository) THEN 1 ELSE 2 END,
    EXISTS (SELECT FROM verification v WHERE v.backup = b.id AND v.repository = p_repository AND v.level IN ('content', 'restore', 'query') AND v.result = 'ok'),
    EXISTS (SELECT FROM job j WHERE j.source = p_source AND j.state IN ('pending', 'queued', 'running') AND j.backup = b.id) OR log_needed(b.id),
    b.held_until, b.locked_until, b.bytes, b.outcome
  FROM backup b LEFT JOIN backup_copy c ON c.backup = b.id AND c.repository = p_repository AND c.deleted_at IS NULL
  WHERE b.source = p_source AND (b.repository = p_repository AND b.deleted_at IS NULL AND b.left_at IS NULL OR c.backup IS NOT NULL)
  ORDER BY b.consistent_at, b.sequence $$;

-- Asked again when it goes: a base backup may have come since it was planned.
ALTER FUNCTION retention_take(bigint, bigint, uuid) RENAME TO retention_take_any;
CREATE FUNCTION retention_take(p_job bigint, p_attempt bigint, p_claim uuid) RETURNS TABLE (backup uuid, reason text)
  LANGUAGE sql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
  SELECT t.backup, t.reason FROM retention_take_any(p_job, p_attempt, p_claim) t WHERE NOT log_needed(t.backup) $$;

-- --- what can be restored -------------------------------------------------------------------------

-- Runs of the log without a hole.
CREATE VIEW log_range AS
  WITH there AS (
    SELECT g.source, g.system, g.timeline, g.start_lsn, g.end_lsn,
      max(g.end_lsn) OVER (PARTITION BY g.source, g.system, g.timeline ORDER BY g.start_lsn ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM log_segment g JOIN backup b ON b.id = g.backup
    WHERE b.deleted_at IS NULL AND NOT EXISTS (SELECT FROM pack p WHERE p.no = ANY (b.packs) AND p.damaged_at IS NOT NULL)),
  run AS (
    SELECT t.*, count(*) FILTER (WHERE t.before IS NULL OR t.before < t.start_lsn) OVER (PARTITION BY t.source, t.system, t.timeline ORDER BY t.start_lsn) AS n
    FROM there t)
  SELECT r.source, r.system, r.timeline, r.n, min(r.start_lsn) AS from_lsn, max(r.end_lsn) AS to_lsn, count(*) AS segments,
    (SELECT max(l.at) FROM log_batch l WHERE l.source = r.source AND l.system = r.system AND l.timeline = r.timeline
      AND l.end_lsn > min(r.start_lsn) AND l.end_lsn <= max(r.end_lsn)) AS to_at,
    lead(min(r.start_lsn)) OVER (PARTITION BY r.source, r.system, r.timeline ORDER BY r.n) AS next_lsn
  FROM run r GROUP BY r.source, r.system, r.timeline, r.n;

-- A row a base backup and timeline that a restore of it can reach: every instant from..to, without a hole.
CREATE VIEW recovery_windows AS
  WITH RECURSIVE base AS (
    SELECT l.no AS log, s.no AS source, b.id AS backup, b.consistent_at AS from_at, n.*
    FROM source l JOIN source s ON s.name = l.spec ->> 'log_of' JOIN backup b ON b.source = s.no AND b.deleted_at IS NULL
      CROSS JOIN LATERAL log_needs(b) n WHERE b.outcome = 'completed'),
  reach AS (
    SELECT x.log, x.source, x.backup, x.from_at, x.system, x.stop_lsn, x.timeline AS began_on, r.timeline, r.to_lsn, r.to_at, r.next_lsn
    FROM base x JOIN log_range r ON r.source = x.log AND r.system = x.system AND r.timeline = x.timeline
      AND r.from_lsn <= x.start_lsn AND r.to_lsn >= x.stop_lsn
    UNION ALL
    SELECT x.log, x.source, x.backup, x.from_at, x.system, x.stop_lsn, x.began_on, r.timeline, r.to_lsn, r.to_at, r.next_lsn
    FROM reach x JOIN log_timeline h ON h.source = x.log AND h.system = x.system AND h.parent = x.timeline
        AND h.switch_lsn >= x.stop_lsn AND h.switch_lsn <= x.to_lsn
      JOIN log_range r ON r.source = x.log AND r.system = x.system AND r.timeline = h.timeline AND r.from_lsn <= h.switch_lsn AND r.to_lsn >= h.switch_lsn)
  SELECT s.name AS source, l.name AS log, r.backup, r.system, r.timeline, r.began_on, r.from_at, r.stop_lsn AS from_lsn,
    greatest(r.to_at, r.from_at) AS to_at, r.to_lsn, CASE WHEN r.next_lsn IS NOT NULL THEN r.to_lsn END AS hole_from, r.next_lsn AS hole_to,
    r.source AS source_no, r.log AS log_no
  FROM reach r JOIN source s ON s.no = r.source JOIN source l ON l.no = r.log;

-- A row a log: does the window of the newest base backup reach what was stored last?
CREATE VIEW log_facts AS
  SELECT s.name AS source, l.name AS log, s.no AS source_no, l.no AS log_no, n.backup AS newest_base, last.at AS stored_at, last.end_lsn, last.timeline,
    last.lag, last.slot, w.to_lsn, w.to_at, gap.gap_from, gap.gap_to,
    CASE WHEN last.backup IS NULL THEN 'nothing of its log is stored yet'
         WHEN n.backup IS NULL THEN 'there is no base backup for the log to go on from'
         WHEN w.to_lsn IS NULL THEN 'the log has a hole that the newest base backup needs'
         WHEN w.to_lsn < last.end_lsn THEN format('the log has a hole after %s', w.to_lsn) END AS trouble
  FROM source l JOIN source s ON s.name = l.spec ->> 'log_of'
  LEFT JOIN LATERAL (SELECT x.* FROM log_batch x JOIN backup b ON b.id = x.backup WHERE x.source = l.no ORDER BY b.sequence DESC LIMIT 1) last ON true
  LEFT JOIN LATERAL (SELECT b.id AS backup FROM backup b WHERE b.source = s.no AND b.deleted_at IS NULL AND b.outcome = 'completed'
      AND EXISTS (SELECT FROM log_needs(b)) ORDER BY b.consistent_at DESC LIMIT 1) n ON true
  LEFT JOIN LATERAL (SELECT v.to_lsn, v.to_at FROM recovery_windows v WHERE v.backup = n.backup AND v.log_no = l.no ORDER BY v.timeline DESC LIMIT 1) w ON true
  LEFT JOIN LATERAL (SELECT x.gap_from, x.gap_to FROM log_batch x WHERE x.source = l.no AND x.gap_from IS NOT NULL ORDER BY x.at DESC LIMIT 1) gap ON true
  WHERE l.retired_at IS NULL AND s.retired_at IS NULL;

REVOKE ALL ON FUNCTION log_base, log_gap_tell, log_take_segments, log_take, log_from, job_order, log_needs, log_needed, retention_take FROM PUBLIC;
REVOKE ALL ON FUNCTION retention_take_any FROM holdfast_pruner;
GRANT EXECUTE ON FUNCTION retention_take TO holdfast_pruner;
GRANT EXECUTE ON FUNCTION log_base, log_needs, log_needed, job_order, job_order_any TO holdfast_scheduler;
GRANT SELECT ON log_batch, log_segment, log_timeline TO holdfast_scheduler;
GRANT SELECT ON log_range, recovery_windows, log_facts TO holdfast_scheduler, holdfast_auditor;
