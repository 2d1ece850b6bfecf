-- How an attempt ends, and what a job says meanwhile.

-- Everything an attempt held is let go, its last progress kept.
CREATE FUNCTION attempt_end(j job, p_outcome text, p_code text, p_cause text, p_text text) RETURNS void LANGUAGE plpgsql
  SET search_path = holdfast, pg_temp AS $$
DECLARE
  l lease;
BEGIN
  DELETE FROM lease WHERE job = j.id AND attempt = j.attempt RETURNING * INTO l;
  DELETE FROM limit_slot USING limit_wanted w -- the limit was lowered while it ran
    WHERE limit_slot.job = j.id AND limit_slot.scope = w.scope AND limit_slot.n > w.n;
  UPDATE limit_slot SET job = NULL, attempt = NULL WHERE job = j.id AND attempt = j.attempt;
  UPDATE job_attempt SET ended_at = clock_timestamp(), outcome = p_outcome, code = p_code, cause = p_cause, error = p_text,
    bytes_done = l.bytes_done, stored = l.stored, items_done = l.items_done, errors = l.errors
    WHERE job = j.id AND attempt = j.attempt AND outcome IS NULL;
  UPDATE session SET state = CASE WHEN p_outcome IN ('completed', 'partial') AND writes THEN 'committed' ELSE 'closed' END,
    closed_at = clock_timestamp() WHERE job = j.id AND attempt = j.attempt AND state = 'open';
END $$;

-- d/2 + random up to d/2, so that a hundred jobs that failed together do not come back together.
CREATE FUNCTION backoff(p_first double precision, p_most double precision, p_before int, p_jitter boolean) RETURNS interval
  LANGUAGE sql VOLATILE SET search_path = holdfast, pg_temp AS $$
  SELECT make_interval(secs => CASE WHEN p_jitter THEN d / 2 + random() * d / 2 ELSE d END)
  FROM (SELECT least(p_most, p_first * 2 ^ least(greatest(p_before, 0), 30)) AS d) x $$;

-- The one door out of `running` that makes no backup. The caller has checked the fence under the
-- row's lock.
CREATE FUNCTION job_end(j job, p_outcome text, p_code text, p_cause text, p_text text, p_retry boolean) RETURNS text
  LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  failed int := j.failures + (p_outcome = 'failed')::int;
  lost int := j.losses + (p_outcome = 'lost')::int;
  next_state text;
  wait interval := '0';
BEGIN
  next_state := CASE
    WHEN p_outcome IN ('completed', 'partial') THEN p_outcome
    WHEN p_outcome = 'cancelled' OR j.cancel_requested THEN 'cancelled'
    WHEN p_outcome = 'failed' AND (NOT p_retry OR failed >= j.max_failures) THEN 'failed'
    WHEN p_outcome = 'lost' AND lost >= setting_of('max_losses') THEN 'failed'
    ELSE 'pending' END;
  IF next_state = 'pending' AND p_outcome = 'failed' THEN
    wait := backoff(j.backoff_s, j.max_backoff_s, failed - 1, j.jitter);
  ELSIF next_state = 'pending' AND p_outcome = 'lost' THEN
    wait := backoff(setting_of('loss_backoff_s'), setting_of('loss_backoff_max_s'), lost - 1, j.jitter);
  END IF;
  PERFORM attempt_end(j, p_outcome, p_code, p_cause, p_text);
  UPDATE job SET state = next_state, claim = NULL, failures = failed, losses = lost, dispatch = dispatch + 1,
    code = coalesce(p_code, code), cause = coalesce(p_cause, cause), error = coalesce(p_text, error),
    run_at = CASE WHEN next_state = 'pending' THEN clock_timestamp() + wait ELSE run_at END,
    start_by = CASE WHEN next_state = 'pending' THEN NULL ELSE start_by END, -- the deadline was for the first start
    finished_at = CASE WHEN next_state <> 'pending' THEN clock_timestamp() END WHERE id = j.id;
  IF next_state = 'failed' THEN
    PERFORM decide(j, 'failed', CASE WHEN p_outcome = 'lost' THEN 'poison' ELSE 'retries.used_up' END,
      CASE WHEN p_outcome = 'lost' THEN format('%s attempts ended without a verdict', lost) ELSE coalesce(p_text, p_cause, '') END);
  ELSIF next_state = 'pending' AND p_outcome IN ('failed', 'lost') THEN
    PERFORM decide(j, 'deferred', 'retry.' || p_outcome, format('attempt %s: %s; again in %s s', j.attempt,
      coalesce(p_text, 'its worker was lost'), round(extract(epoch FROM wait))));
  END IF;
  RETURN next_state;
END $$;

CREATE FUNCTION job_finish(p_job bigint, p_attempt bigint, p_claim uuid, p_outcome text, p_code text, p_cause text, p_text text,
    p_retry boolean) RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  me worker := worker_me();
  j job;
  before text;
BEGIN
  PERFORM need_read_committed();
  PERFORM need_values(num_nulls(p_job, p_attempt, p_claim, p_outcome, p_retry), 'job_finish');
  IF p_outcome NOT IN ('completed', 'partial', 'failed', 'released', 'cancelled') THEN
    RAISE EXCEPTION 'a worker cannot end an attempt as %', p_outcome USING ERRCODE = 'HF004', DETAIL = 'job.outcome';
  END IF;
  SELECT * INTO j FROM job WHERE id = p_job FOR UPDATE;
  IF j.state IS DISTINCT FROM 'running' OR j.attempt IS DISTINCT FROM p_attempt OR j.claim IS DISTINCT FROM p_claim
     OR NOT EXISTS (SELECT FROM lease l WHERE l.job = p_job AND l.attempt = p_attempt AND l.worker = me.no) THEN
    SELECT a.outcome INTO before FROM job_attempt a
      WHERE a.job = p_job AND a.attempt = p_attempt AND a.claim IS NOT DISTINCT FROM p_claim AND a.worker = me.no;
    IF before IS NOT DISTINCT FROM p_outcome AND j.attempt = p_attempt THEN
      RETURN j.state; -- the first answer was lost
    END IF;
    RETURN 'fenced';
  END IF;
  IF j.kind = 'backup' AND p_outcome IN ('completed', 'partial') THEN
    RAISE EXCEPTION 'a backup completes by its commit' USING ERRCODE = 'HF004', DETAIL = 'job.outcome';
  END IF;
  RETURN job_end(j, p_outcome, left(p_code, 40), left(p_cause, 80), left(p_text, 2000), p_retry);
END $$;

CREATE FUNCTION job_held(p_job bigint, p_attempt bigint, p_claim uuid) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, false);
BEGIN
  RETURN j.cancel_requested;
END $$;

CREATE FUNCTION job_log_add(p_job bigint, p_attempt bigint, p_claim uuid, p_at timestamptz[], p_levels int[], p_events text[], p_texts text[])
  RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, true);
  before bigint;
  most bigint := setting_of('log_lines');
BEGIN
  UPDATE job_attempt SET log_lines = log_lines + cardinality(p_texts) WHERE job = j.id AND attempt = j.attempt
    RETURNING log_lines - cardinality(p_texts) INTO before;
  INSERT INTO job_log(job, attempt, at, level, event, text)
    SELECT j.id, j.attempt, x.at, x.level, left(x.event, 80), left(x.text, 4000)
    FROM unnest(p_at, p_levels, p_events, p_texts) WITH ORDINALITY AS x(at, level, event, text, n)
    WHERE before + x.n <= most ORDER BY x.n;
END $$;

CREATE FUNCTION job_answer_set(p_job bigint, p_attempt bigint, p_claim uuid, p_answer text) RETURNS void LANGUAGE plpgsql
  SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, true);
BEGIN
  PERFORM need_values(num_nulls(p_answer), 'job_answer_set');
  IF octet_length(p_answer) > 1048576 THEN
    RAISE EXCEPTION 'an answer may have 1 MiB, this one has % bytes: ask for less', octet_length(p_answer)
      USING ERRCODE = 'HF004', DETAIL = 'job.answer_size';
  END IF;
  PERFORM p_answer::json; -- refuses what is no JSON
  INSERT INTO job_answer(job, attempt, answer, expires_at)
    VALUES (j.id, j.attempt, p_answer,
            CASE WHEN j.kind = 'probe' THEN clock_timestamp() + make_interval(secs => setting_of('answer_s')) END)
    ON CONFLICT (job) DO UPDATE SET attempt = excluded.attempt, answer = excluded.answer, at = clock_timestamp(),
      expires_at = excluded.expires_at;
END $$;
