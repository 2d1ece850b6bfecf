-- The slot that a log's batches read from keeps the log on its server until somebody drops it, also when no policy asks for it any
-- more. So it stands here from the moment a policy names it until a worker has dropped it: one that is left (its source went,
-- its log is pushed now, its server is another) is dropped by a job, again and again while its server cannot be reached, and is told
-- as trouble meanwhile.
CREATE TABLE log_slot (
  log        int NOT NULL REFERENCES source,
  slot       text NOT NULL,
  server     text NOT NULL,
  config     jsonb NOT NULL,                                         -- what leads there; passwords are references
  left_at    timestamptz,                                            -- no policy asks for it since; NULL: it is in use
  job        bigint,                                                 -- that drops it
  tries      int NOT NULL DEFAULT 0,
  next_at    timestamptz,
  trouble    text,                                                   -- what the last try said
  PRIMARY KEY (log, slot, server));

CREATE FUNCTION log_server(p_config jsonb) RETURNS text LANGUAGE sql IMMUTABLE SET search_path = holdfast, pg_temp AS $$
  SELECT coalesce('service ' || (p_config ->> 'service'), coalesce(p_config ->> 'host', '') || ':' || coalesce(p_config ->> 'port', '5432')) $$;

CREATE FUNCTION log_slot_named(s source) RETURNS boolean LANGUAGE sql IMMUTABLE SET search_path = holdfast, pg_temp AS $$
  SELECT s.retired_at IS NULL AND s.spec ? 'log_of' AND s.spec -> 'config' ? 'slot' $$;

CREATE FUNCTION log_slot_follow() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  way jsonb := NEW.spec -> 'config';
  named boolean := log_slot_named(NEW);
BEGIN
  IF named THEN
    INSERT INTO log_slot AS o (log, slot, server, config) VALUES (NEW.no, way ->> 'slot', log_server(way), way)
      ON CONFLICT (log, slot, server) DO UPDATE SET config = excluded.config, left_at = NULL, job = NULL, tries = 0, next_at = NULL, trouble = NULL;
  END IF;
  UPDATE log_slot o SET left_at = clock_timestamp(), next_at = clock_timestamp()
    WHERE o.log = NEW.no AND o.left_at IS NULL AND NOT (named AND o.slot = way ->> 'slot' AND o.server = log_server(way));
  RETURN NULL;
END $$;
CREATE TRIGGER log_slot_follow AFTER INSERT OR UPDATE OF spec, retired_at ON source FOR EACH ROW WHEN (NEW.spec ? 'log_of')
  EXECUTE FUNCTION log_slot_follow();
INSERT INTO log_slot(log, slot, server, config) SELECT s.no, s.spec #>> '{config,slot}', log_server(s.spec -> 'config'), s.spec -> 'config'
  FROM source s WHERE log_slot_named(s);

-- What the job that was to drop it came to.
CREATE FUNCTION log_slot_heard(o log_slot, j job) RETURNS void LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  why text := CASE WHEN j.state = 'failed' THEN coalesce(j.error, j.cause, 'it failed') WHEN j.state = 'missed' THEN 'no worker took the job' ELSE 'its job ended' END;
BEGIN
  IF j.state = 'completed' THEN
    DELETE FROM log_slot x WHERE (x.log, x.slot, x.server) = (o.log, o.slot, o.server);
    RETURN;
  END IF;
  UPDATE log_slot x SET job = NULL, tries = x.tries + 1, trouble = left(why, 500),
      next_at = clock_timestamp() + least(interval '1 minute' * 2 ^ least(x.tries, 6), interval '1 hour')
    WHERE (x.log, x.slot, x.server) = (o.log, o.slot, o.server);
  IF o.tries = 0 THEN
    INSERT INTO event(kind, source, job, data) VALUES ('alert', o.log, j.id, jsonb_build_object('code', 'log.slot_left', 'slot', o.slot,
      'text', format('the replication slot %s on %s keeps log that nobody fetches, and could not be dropped: %s', o.slot, o.server, left(why, 500))));
  END IF;
END $$;

-- Asked each minute, and when a policy is applied: a slot that is left is dropped when no batch is under way that may
-- make it again.
CREATE FUNCTION log_slots_let_go() RETURNS bigint LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  o log_slot;
  j job;
  s source;
  number bigint;
  made bigint := 0;
BEGIN
  FOR o IN SELECT * FROM log_slot WHERE left_at IS NOT NULL ORDER BY log, slot, server FOR UPDATE SKIP LOCKED LOOP
    SELECT * INTO j FROM job WHERE id = o.job;
    IF o.job IS NOT NULL AND j.id IS NOT NULL AND j.finished_at IS NULL THEN
      CONTINUE;
    ELSIF o.job IS NOT NULL THEN
      PERFORM log_slot_heard(o, j);
      CONTINUE;
    ELSIF o.next_at > clock_timestamp()
       OR EXISTS (SELECT FROM job b JOIN source x ON x.no = b.source WHERE b.source = o.log AND b.kind = 'backup'
         AND (b.state = 'running' OR x.retired_at IS NOT NULL AND b.state IN ('pending', 'queued'))) THEN
      CONTINUE;
    END IF;
    SELECT * INTO s FROM source WHERE no = o.log;
    number := job_new('probe', 'retry', s, NULL, NULL, jsonb_build_object('probe', 'slot_drop', 'slot', o.slot, 'config', o.config), NULL,
      'holdfast', NULL, 0, 'pending', clock_timestamp() + interval '10 minutes', NULL, NULL);
    UPDATE log_slot x SET job = number WHERE (x.log, x.slot, x.server) = (o.log, o.slot, o.server);
    PERFORM decide(b, 'ran', 'log.slot_left', format('no policy asks for the replication slot %s on %s any more', o.slot, o.server)) FROM job b WHERE b.id = number;
    made := made + 1;
  END LOOP;
  RETURN made;
END $$;

CREATE FUNCTION log_slots_apply() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
BEGIN
  PERFORM log_slots_let_go();
  RETURN NULL;
END $$;
CREATE TRIGGER log_slots_apply AFTER INSERT ON policy_version FOR EACH ROW EXECUTE FUNCTION log_slots_apply();

ALTER FUNCTION housekeep() RENAME TO housekeep_any;
CREATE FUNCTION housekeep() RETURNS void LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
BEGIN
  PERFORM housekeep_any();
  PERFORM log_slots_let_go();
END $$;

-- Slots that nobody reads from and that are still there, as far as anybody knows.
CREATE VIEW log_slots_left AS
  SELECT s.name AS log, o.slot, o.server, o.left_at, o.tries, o.trouble FROM log_slot o JOIN source s ON s.no = o.log
  WHERE o.left_at IS NOT NULL;

-- As before; and why the log is gone from the server, where the batch knows.
CREATE OR REPLACE FUNCTION log_gap_tell(b backup, p_from pg_lsn, p_to pg_lsn) RETURNS void LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  base source;
  number bigint;
BEGIN
  SELECT * INTO base FROM source WHERE no = log_base(b.source) AND retired_at IS NULL;
  INSERT INTO event(kind, source, job, data) VALUES ('alert', coalesce(base.no, b.source), b.job,
    jsonb_strip_nulls(jsonb_build_object('code', 'log.gap', 'from', p_from, 'to', p_to, 'why', b.receipt #>> '{log,gap,why}',
      'text', format('the log from %s to %s was never stored: no restore crosses it%s', p_from, p_to,
        CASE b.receipt #>> '{log,gap,why}' WHEN 'slot_lost' THEN '; max_slot_wal_keep_size of its server let the slot lose it: raise it' ELSE '' END))));
  IF base.no IS NULL OR EXISTS (SELECT FROM job j WHERE j.source = base.no AND j.kind = 'backup' AND j.state IN ('pending', 'queued')) THEN
    RETURN;
  END IF;
  number := job_new('backup', 'retry', base, NULL, NULL, '{}', NULL, 'holdfast', NULL, 0, 'pending', NULL, NULL, NULL);
  PERFORM decide(j, 'ran', 'log.gap', format('the log has a hole from %s to %s: a base backup after it begins a new window', p_from, p_to))
    FROM job j WHERE j.id = number;
END $$;

REVOKE ALL ON FUNCTION log_server, log_slot_named, log_slot_follow, log_slot_heard, log_slots_let_go, log_slots_apply, housekeep, housekeep_any FROM PUBLIC;
GRANT EXECUTE ON FUNCTION log_server, log_slot_named, log_slot_heard, log_slots_let_go, housekeep, housekeep_any TO holdfast_scheduler;
GRANT SELECT, INSERT, UPDATE, DELETE ON log_slot TO holdfast_scheduler;
GRANT SELECT ON log_slots_left TO holdfast_scheduler, holdfast_auditor;
