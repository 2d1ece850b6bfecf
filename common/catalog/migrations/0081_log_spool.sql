-- A log that its server pushes into a spool on its host: what waits there is told, makes a job at once, and shows as
-- exposure; and a log to which nothing came ends its job without a backup.
CREATE TABLE log_spool (
  worker     int NOT NULL REFERENCES worker,
  system     text NOT NULL,                                          -- the cluster's own identifier
  files      bigint NOT NULL,
  bytes      bigint NOT NULL,
  oldest     timestamptz,                                            -- the oldest file's own time; NULL: nothing waits
  told_at    timestamptz NOT NULL,
  PRIMARY KEY (worker, system));

-- The source whose log a worker of these pools found: the one that has this cluster's, or the only one without any.
CREATE FUNCTION log_of_spool(me worker, p_system text) RETURNS source LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  WITH served AS (
    SELECT s AS one, (SELECT l.system FROM log_batch l JOIN backup b ON b.id = l.backup WHERE l.source = s.no ORDER BY b.sequence DESC LIMIT 1) AS system
    FROM source s WHERE s.retired_at IS NULL AND s.spec ? 'log_of' AND s.spec #>> '{config,from}' = 'spool'
      AND (s.pool = ANY (me.pools) OR s.name = ANY (me.sources)))
  SELECT (one).* FROM served WHERE system = p_system
    OR (system IS NULL AND (SELECT count(*) FROM served WHERE system IS NULL) = 1 AND NOT EXISTS (SELECT FROM served WHERE system = p_system))
  ORDER BY system IS NULL, (one).no LIMIT 1 $$;

-- What waits in the spool of this worker's host. The job that was made for it; NULL: none was needed.
CREATE FUNCTION log_spooled(p_system text, p_files bigint, p_bytes bigint, p_oldest timestamptz) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  me worker := worker_me();
  own source;
  number bigint;
BEGIN
  PERFORM need_values(num_nulls(p_system, p_files, p_bytes), 'log_spooled');
  IF p_system !~ '^[0-9]{1,20}$' OR p_files < 0 OR p_bytes < 0 OR (p_files > 0) <> (p_oldest IS NOT NULL) THEN
    RAISE EXCEPTION 'this is no account of a spool' USING ERRCODE = 'HF004', DETAIL = 'log.spool';
  END IF;
  INSERT INTO log_spool AS o (worker, system, files, bytes, oldest, told_at)
    SELECT me.no, p_system, p_files, p_bytes, p_oldest, clock_timestamp()
    WHERE (SELECT count(*) FROM log_spool x WHERE x.worker = me.no) < 100
      OR EXISTS (SELECT FROM log_spool x WHERE x.worker = me.no AND x.system = p_system)
    ON CONFLICT (worker, system) DO UPDATE SET files = excluded.files, bytes = excluded.bytes, oldest = excluded.oldest, told_at = excluded.told_at;
  IF p_files = 0 THEN
    RETURN NULL;
  END IF;
  SELECT * INTO own FROM log_of_spool(me, p_system);
  -- A job that failed for good is not made again at once: a store that is away stays so for a while.
  IF own.no IS NULL OR own.paused_until > clock_timestamp()
     OR EXISTS (SELECT FROM job j WHERE j.source = own.no AND j.kind = 'backup' AND j.state IN ('pending', 'queued', 'running'))
     OR (SELECT j.state = 'failed' AND j.finished_at > clock_timestamp() - interval '1 minute' FROM job j
         WHERE j.source = own.no AND j.kind = 'backup' ORDER BY j.id DESC LIMIT 1) THEN
    RETURN NULL;
  END IF;
  number := job_new('backup', 'manual', own, NULL, NULL, '{}', NULL, 'worker:' || me.name, NULL, 0, 'pending', NULL, NULL, NULL);
  PERFORM decide(j, 'ran', 'log.spooled', format('%s files of the log wait in the spool of %s', p_files, me.name)) FROM job j WHERE j.id = number;
  RETURN number;
END $$;

-- Nothing came since the batch before: the job has done what it was for.
CREATE FUNCTION log_idle(p_job bigint, p_attempt bigint, p_claim uuid, p_text text) RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  me worker := worker_me();
  j job;
BEGIN
  PERFORM need_read_committed();
  PERFORM need_values(num_nulls(p_job, p_attempt, p_claim), 'log_idle');
  SELECT * INTO j FROM job WHERE id = p_job FOR UPDATE;
  IF j.state IS DISTINCT FROM 'running' OR j.attempt IS DISTINCT FROM p_attempt OR j.claim IS DISTINCT FROM p_claim
     OR NOT EXISTS (SELECT FROM lease l WHERE l.job = p_job AND l.attempt = p_attempt AND l.worker = me.no) THEN
    IF j.attempt = p_attempt AND EXISTS (SELECT FROM job_attempt a WHERE a.job = p_job AND a.attempt = p_attempt AND a.claim = p_claim
        AND a.worker = me.no AND a.outcome = 'completed') THEN
      RETURN j.state; -- the first answer was lost
    END IF;
    RETURN 'fenced';
  END IF;
  IF j.kind <> 'backup' OR NOT EXISTS (SELECT FROM source s WHERE s.no = j.source AND s.spec ? 'log_of') THEN
    RAISE EXCEPTION 'only a log''s job ends without a backup' USING ERRCODE = 'HF004', DETAIL = 'job.outcome';
  END IF;
  RETURN job_end(j, 'completed', NULL, 'log.idle', left(p_text, 2000), false);
END $$;

-- What of a log waits in the spools of the workers that serve it.
CREATE FUNCTION log_waits(p_log int, p_system text) RETURNS TABLE (spool_files bigint, spool_bytes bigint, spool_oldest timestamptz) LANGUAGE sql STABLE
  SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
  SELECT sum(o.files)::bigint, sum(o.bytes)::bigint, min(o.oldest) FROM log_spool o JOIN worker m ON m.no = o.worker JOIN source l ON l.no = p_log
    WHERE o.system = p_system AND m.retired_at IS NULL AND l.spec #>> '{config,from}' = 'spool' AND (l.pool = ANY (m.pools) OR l.name = ANY (m.sources)) $$;

-- A row a log: does the window of the newest base backup reach what was stored last? And what is not stored yet?
CREATE OR REPLACE VIEW log_facts AS
  SELECT s.name AS source, l.name AS log, s.no AS source_no, l.no AS log_no, n.backup AS newest_base, last.at AS stored_at, last.end_lsn, last.timeline,
    last.lag, last.slot, w.to_lsn, w.to_at, gap.gap_from, gap.gap_to,
    CASE WHEN last.backup IS NULL THEN 'nothing of its log is stored yet'
         WHEN n.backup IS NULL THEN 'there is no base backup for the log to go on from'
         WHEN w.to_lsn IS NULL THEN 'the log has a hole that the newest base backup needs'
         WHEN w.to_lsn < last.end_lsn THEN format('the log has a hole after %s', w.to_lsn)
         WHEN spool.spool_oldest < clock_timestamp() - make_interval(secs => coalesce((l.spec #>> '{objectives,rpo_s}')::float8, 900))
           THEN format('%s files of the log wait in the spool since %s', spool.spool_files, rfc3339(spool.spool_oldest)) END AS trouble,
    spool.spool_files, spool.spool_bytes, spool.spool_oldest
  FROM source l JOIN source s ON s.name = l.spec ->> 'log_of'
  LEFT JOIN LATERAL (SELECT x.* FROM log_batch x JOIN backup b ON b.id = x.backup WHERE x.source = l.no ORDER BY b.sequence DESC LIMIT 1) last ON true
  LEFT JOIN LATERAL (SELECT b.id AS backup FROM backup b WHERE b.source = s.no AND b.deleted_at IS NULL AND b.outcome = 'completed'
      AND EXISTS (SELECT FROM log_needs(b)) ORDER BY b.consistent_at DESC LIMIT 1) n ON true
  LEFT JOIN LATERAL (SELECT v.to_lsn, v.to_at FROM recovery_windows v WHERE v.backup = n.backup AND v.log_no = l.no ORDER BY v.timeline DESC LIMIT 1) w ON true
  LEFT JOIN LATERAL (SELECT x.gap_from, x.gap_to FROM log_batch x WHERE x.source = l.no AND x.gap_from IS NOT NULL ORDER BY x.at DESC LIMIT 1) gap ON true
  LEFT JOIN LATERAL log_waits(l.no, last.system) spool ON true
  WHERE l.retired_at IS NULL AND s.retired_at IS NULL;

REVOKE ALL ON FUNCTION log_of_spool, log_spooled, log_idle, log_waits FROM PUBLIC;
GRANT EXECUTE ON FUNCTION log_waits TO holdfast_scheduler, holdfast_auditor;
GRANT EXECUTE ON FUNCTION log_spooled, log_idle TO holdfast_worker;
GRANT SELECT ON log_spool TO holdfast_scheduler;
