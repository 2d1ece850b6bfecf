-- What was there before a restore in place is in the backup that was made just before it: a restore that ended is never taken up
-- again with it, since the place has changed meanwhile. Another attempt of one that has not ended begins with the same backup.
CREATE FUNCTION restore_planned_anew() RETURNS trigger LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'the backup of what was there (%) is older than what is there now: plan and start the restore anew  (holdfast restore … --in-place)',
    coalesce(NEW.params #>> '{safety,backup}', NEW.params #>> '{safety,job}', 'none') USING ERRCODE = 'HF003', DETAIL = 'restore.plan_anew';
END $$;
CREATE TRIGGER restore_taken_up BEFORE UPDATE OF state ON job FOR EACH ROW
  WHEN (NEW.kind = 'restore' AND OLD.finished_at IS NOT NULL AND NEW.finished_at IS NULL AND OLD.params ? 'safety')
  EXECUTE FUNCTION restore_planned_anew();
CREATE TRIGGER restore_made_again BEFORE INSERT ON job FOR EACH ROW
  WHEN (NEW.kind = 'restore' AND jsonb_typeof(NEW.params -> 'safety') = 'object') EXECUTE FUNCTION restore_planned_anew();

-- As before; the backup does not wait for its window, nor for a limit: somebody waits for the restore.
CREATE OR REPLACE FUNCTION restore_waits() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  safety bigint;
BEGIN
  SELECT m.job INTO safety FROM job_create('backup', 'emergency', (SELECT s.name FROM source s WHERE s.no = NEW.source), NULL,
    jsonb_build_object('safety_of', NEW.id), NEW.actor, NULL, 60, NULL) m;
  UPDATE job SET run_at = 'infinity', params = params || jsonb_build_object('safety', jsonb_build_object('job', job_text(safety))) WHERE id = NEW.id;
  PERFORM decide(NEW, 'deferred', 'restore.safety_backup', format('waits for %s, a backup of what is there now', job_text(safety)));
  RETURN NULL;
END $$;

-- As before; and the backup is held for two weeks, however short its source's rules are. Where nobody prunes, nobody waits to
-- write that into the store.
CREATE OR REPLACE FUNCTION restore_released() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  made uuid;
  asked bigint := (NEW.params ->> 'safety_of')::bigint;
  until timestamptz := clock_timestamp() + interval '14 days';
  why text := format('what was there before restore %s', job_text(asked));
BEGIN
  IF NEW.state = 'completed' THEN
    SELECT b.id INTO made FROM backup b WHERE b.job = NEW.id;
  END IF;
  IF made IS NOT NULL AND EXISTS (SELECT FROM worker w WHERE w.pruner AND w.retired_at IS NULL) THEN
    PERFORM backup_hold(made, until, why, NEW.actor, NULL);
  ELSIF made IS NOT NULL THEN
    UPDATE backup SET held_until = until, held_reason = why, hold_stored_at = NULL WHERE id = made;
  END IF;
  UPDATE job SET run_at = clock_timestamp(), params = jsonb_set(params, '{safety}', jsonb_strip_nulls(jsonb_build_object('job', job_text(NEW.id),
      'backup', backup_text(made), 'state', NEW.state, 'why', left(NEW.error, 200))))
    WHERE id = asked AND kind = 'restore' AND state = 'pending' AND params #>> '{safety,job}' = job_text(NEW.id);
  RETURN NULL;
END $$;

-- As before; and a lead whose release hook failed says so: not_released. Somebody hears of it, for the application is held still.
ALTER FUNCTION group_step(bigint, bigint, uuid, text, text) RENAME TO group_step_known;
CREATE FUNCTION group_step(p_job bigint, p_attempt bigint, p_claim uuid, p_step text, p_text text)
  RETURNS TABLE (state text, ready boolean, why text, held_at text) LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  j job;
  r group_run;
  said text;
BEGIN
  IF p_step IS DISTINCT FROM 'not_released' THEN
    RETURN QUERY SELECT * FROM group_step_known(p_job, p_attempt, p_claim, p_step, p_text);
    RETURN;
  END IF;
  j := fence_job(p_job, p_attempt, p_claim, true);
  SELECT * INTO r FROM group_run x WHERE x.id = (j.params #>> '{group,run}')::uuid AND x.lead = p_job FOR UPDATE;
  IF r.id IS NOT NULL AND NOT EXISTS (SELECT FROM event e WHERE e.job = p_job AND e.kind = 'alert' AND e.data ->> 'code' = 'group.not_released'
       AND e.data ->> 'attempt' = p_attempt::text) THEN
    said := format('the application of group %s may be held still, release it by hand: %s: %s', r.name, r.spec ->> 'release', left(p_text, 400));
    INSERT INTO decision(source, job, verdict, code, text) VALUES (j.source, p_job, 'failed', 'group.not_released', said);
    INSERT INTO event(kind, source, job, data) VALUES ('alert', NULL, p_job,
      jsonb_build_object('code', 'group.not_released', 'group', r.name, 'run', r.id, 'attempt', p_attempt, 'text', said));
  END IF;
  RETURN QUERY SELECT * FROM group_step_known(p_job, p_attempt, p_claim, 'look', '');
END $$;

REVOKE ALL ON FUNCTION restore_planned_anew, group_step, group_step_known FROM PUBLIC;
REVOKE ALL ON FUNCTION group_step_known FROM holdfast_worker;
GRANT EXECUTE ON FUNCTION group_step TO holdfast_worker;
