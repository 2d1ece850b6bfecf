-- What a spool's account is good for. A job that found nothing of use in a spool is not made again until something else lies there
-- (the end of a timeline whose history never comes made one each second). A job that a spool asks for goes to the host that
-- has it. And an account whose worker lives and says nothing of it any more ends, with an alert where files waited: their folder went.
ALTER TABLE log_spool ADD COLUMN changed_at timestamptz NOT NULL DEFAULT clock_timestamp(); -- when it became what it is

CREATE OR REPLACE FUNCTION log_spooled(p_system text, p_files bigint, p_bytes bigint, p_oldest timestamptz) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  me worker := worker_me();
  own source;
  changed timestamptz;
  number bigint;
BEGIN
  PERFORM need_values(num_nulls(p_system, p_files, p_bytes), 'log_spooled');
  IF p_system !~ '^[0-9]{1,20}$' OR p_files < 0 OR p_bytes < 0 OR (p_files > 0) <> (p_oldest IS NOT NULL) THEN
    RAISE EXCEPTION 'this is no account of a spool' USING ERRCODE = 'HF004', DETAIL = 'log.spool';
  END IF;
  INSERT INTO log_spool AS o (worker, system, files, bytes, oldest, told_at, changed_at)
    SELECT me.no, p_system, p_files, p_bytes, p_oldest, clock_timestamp(), clock_timestamp()
    WHERE (SELECT count(*) FROM log_spool x WHERE x.worker = me.no) < 100
      OR EXISTS (SELECT FROM log_spool x WHERE x.worker = me.no AND x.system = p_system)
    ON CONFLICT (worker, system) DO UPDATE SET files = excluded.files, bytes = excluded.bytes, oldest = excluded.oldest, told_at = excluded.told_at,
      changed_at = CASE WHEN (o.files, o.bytes, o.oldest) IS DISTINCT FROM (excluded.files, excluded.bytes, excluded.oldest)
        THEN excluded.changed_at ELSE o.changed_at END
    RETURNING o.changed_at INTO changed;
  IF p_files = 0 THEN
    RETURN NULL;
  END IF;
  SELECT * INTO own FROM log_of_spool(me, p_system);
  -- A job that failed for good is not made again at once: a store that is away stays so for a while.
  IF own.no IS NULL OR own.paused_until > clock_timestamp()
     OR EXISTS (SELECT FROM job j WHERE j.source = own.no AND j.kind = 'backup' AND j.state IN ('pending', 'queued', 'running'))
     OR (SELECT j.state = 'failed' AND j.finished_at > clock_timestamp() - interval '1 minute'
             OR j.state = 'completed' AND j.cause = 'log.idle' AND j.created_at > changed FROM job j
         WHERE j.source = own.no AND j.kind = 'backup' ORDER BY j.id DESC LIMIT 1) THEN
    RETURN NULL;
  END IF;
  number := job_new('backup', 'manual', own, NULL, NULL, '{}', pool_named('host:' || me.host), 'worker:' || me.name, NULL, 0, 'pending', NULL, NULL, NULL);
  PERFORM decide(j, 'ran', 'log.spooled', format('%s files of the log wait in the spool of %s', p_files, me.name)) FROM job j WHERE j.id = number;
  RETURN number;
END $$;

-- A worker tells once a second what waits. One that lives and has said nothing of it for minutes has no such folder any more.
CREATE FUNCTION log_spools_end() RETURNS bigint LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  o record;
  ended bigint := 0;
BEGIN
  FOR o IN DELETE FROM log_spool x USING worker m WHERE m.no = x.worker AND x.files > 0 AND x.told_at < clock_timestamp() - interval '5 minutes'
      AND (m.retired_at IS NOT NULL OR EXISTS (SELECT FROM worker_instance i WHERE i.worker = x.worker AND i.bye_at IS NULL
        AND i.hello_at < clock_timestamp() - interval '5 minutes' AND i.seen_at > clock_timestamp() - interval '1 minute'))
      RETURNING x.system, x.files, x.oldest, m.name LOOP
    INSERT INTO event(kind, data) VALUES ('alert', jsonb_build_object('code', 'log.spool_gone', 'system', o.system, 'worker', o.name,
      'text', format('%s files of the log of the cluster %s, the oldest of %s, waited in the spool of %s and are not there any more: what was not stored is lost',
        o.files, o.system, rfc3339(o.oldest), o.name)));
    ended := ended + 1;
  END LOOP;
  RETURN ended;
END $$;

CREATE OR REPLACE FUNCTION housekeep() RETURNS void LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
BEGIN
  PERFORM housekeep_any();
  PERFORM log_slots_let_go();
  PERFORM log_spools_end();
  PERFORM log_rows_end();
END $$;


-- What is kept of a log whose backups retention let go of: its holes, and for each log its newest batch, where the next one goes on.
CREATE FUNCTION log_rows_end() RETURNS bigint LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  old timestamptz := clock_timestamp() - interval '1 day';
  segments bigint;
  batches bigint;
BEGIN
  DELETE FROM log_segment g USING backup b WHERE b.id = g.backup AND b.deleted_at < old
    AND EXISTS (SELECT FROM backup x JOIN log_batch l ON l.backup = x.id WHERE x.source = b.source AND x.sequence > b.sequence);
  GET DIAGNOSTICS segments = ROW_COUNT;
  DELETE FROM log_batch l USING backup b WHERE b.id = l.backup AND b.deleted_at < old AND l.gap_from IS NULL
    AND EXISTS (SELECT FROM backup x JOIN log_batch y ON y.backup = x.id WHERE x.source = b.source AND x.sequence > b.sequence);
  GET DIAGNOSTICS batches = ROW_COUNT;
  RETURN segments + batches;
END $$;

REVOKE ALL ON FUNCTION log_spools_end, log_rows_end FROM PUBLIC;
GRANT EXECUTE ON FUNCTION log_spools_end, log_rows_end TO holdfast_scheduler;
GRANT DELETE ON log_spool, log_segment, log_batch TO holdfast_scheduler;
