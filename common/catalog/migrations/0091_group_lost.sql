-- What a dead attempt owes may be somebody else's to do: of a restore, while a later attempt of it runs; of a group's lead, while a
-- later run of the group holds the application, which its release would let go too early. Answers of any job of this worker's host.
CREATE FUNCTION job_was_ours(p_job bigint, p_attempt bigint) RETURNS void LANGUAGE plpgsql STABLE SET search_path = holdfast, pg_temp AS $$
DECLARE
  me worker := worker_me();
BEGIN
  IF NOT EXISTS (SELECT FROM job_attempt a JOIN worker w ON w.no = a.worker WHERE a.job = p_job AND a.attempt = p_attempt AND w.host = me.host) THEN
    RAISE EXCEPTION 'attempt % of job % was no worker''s of %', p_attempt, p_job, me.host USING ERRCODE = 'HF005', DETAIL = 'job.not_ours';
  END IF;
END $$;

CREATE OR REPLACE FUNCTION job_passed(p_job bigint, p_attempt bigint) RETURNS boolean LANGUAGE plpgsql STABLE SECURITY DEFINER
  SET search_path = holdfast, pg_temp AS $$
BEGIN
  PERFORM need_values(num_nulls(p_job, p_attempt), 'job_passed');
  PERFORM job_was_ours(p_job, p_attempt);
  RETURN EXISTS (SELECT FROM job j WHERE j.id = p_job AND j.kind = 'restore' AND j.attempt > p_attempt AND j.state = 'running')
    OR EXISTS (SELECT FROM group_run mine JOIN group_run later ON later.name = mine.name AND later.made_at > mine.made_at
      WHERE mine.lead = p_job AND later.state IN ('holding', 'held'));
END $$;

-- A release that failed: somebody hears of it, for the application may be held still. Once an attempt.
CREATE FUNCTION group_unreleased_tell(p_job bigint, p_attempt bigint, p_text text) RETURNS void LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  r group_run;
  said text;
BEGIN
  SELECT * INTO r FROM group_run x WHERE x.lead = p_job FOR UPDATE;
  IF r.id IS NULL OR EXISTS (SELECT FROM event e WHERE e.job = p_job AND e.kind = 'alert' AND e.data ->> 'code' = 'group.not_released'
       AND e.data ->> 'attempt' = p_attempt::text) THEN
    RETURN;
  END IF;
  said := format('the application of group %s may be held still, release it by hand: %s: %s', r.name, r.spec ->> 'release', left(p_text, 400));
  INSERT INTO decision(source, job, verdict, code, text) SELECT j.source, p_job, 'failed', 'group.not_released', said FROM job j WHERE j.id = p_job;
  INSERT INTO event(kind, source, job, data) VALUES ('alert', NULL, p_job,
    jsonb_build_object('code', 'group.not_released', 'group', r.name, 'run', r.id, 'attempt', p_attempt, 'text', said));
END $$;

-- The same of a lead that died: its fence is gone, its host is not.
CREATE FUNCTION group_unreleased(p_job bigint, p_attempt bigint, p_text text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = holdfast, pg_temp AS $$
BEGIN
  PERFORM need_values(num_nulls(p_job, p_attempt, p_text), 'group_unreleased');
  PERFORM job_was_ours(p_job, p_attempt);
  PERFORM group_unreleased_tell(p_job, p_attempt, p_text);
END $$;

-- As before; but a look at what has not changed locks and writes nothing: members look several times a second.
CREATE OR REPLACE FUNCTION group_step(p_job bigint, p_attempt bigint, p_claim uuid, p_step text, p_text text)
  RETURNS TABLE (state text, ready boolean, why text, held_at text) LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  j job;
  r group_run;
  lacking text;
BEGIN
  IF p_step = 'not_released' THEN
    j := fence_job(p_job, p_attempt, p_claim, true);
    PERFORM group_unreleased_tell(p_job, p_attempt, p_text);
  ELSIF p_step = 'look' THEN
    j := fence_job(p_job, p_attempt, p_claim, false);
    SELECT x.* INTO r FROM group_run x JOIN group_seat t ON t.run = x.id AND t.job = p_job
      WHERE x.id = (j.params #>> '{group,run}')::uuid AND (t.attempt = p_attempt OR x.state = 'broken')
        AND NOT (x.state IN ('gathering', 'holding', 'held') AND x.due_at <= clock_timestamp());
    IF r.id IS NOT NULL THEN
      lacking := group_missing(r.id, r.state NOT IN ('gathering', 'holding'));
      RETURN QUERY SELECT r.state, lacking IS NULL, coalesce(r.cause, lacking, ''), rfc3339(r.held_at);
      RETURN;
    END IF;
  END IF;
  RETURN QUERY SELECT * FROM group_step_known(p_job, p_attempt, p_claim, CASE p_step WHEN 'not_released' THEN 'look' ELSE p_step END,
    CASE p_step WHEN 'not_released' THEN '' ELSE p_text END);
END $$;

REVOKE ALL ON FUNCTION job_was_ours, group_unreleased_tell, group_unreleased FROM PUBLIC;
GRANT EXECUTE ON FUNCTION group_unreleased TO holdfast_worker;
