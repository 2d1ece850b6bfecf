-- What an attempt says of its own end comes after the end: a backup ends in its commit. Its lines are
-- taken for a minute more, by its claim and its worker alone. An attempt that was lost, or that another
-- one has followed, has nothing to say.
CREATE OR REPLACE FUNCTION job_log_add(p_job bigint, p_attempt bigint, p_claim uuid, p_at timestamptz[], p_levels int[], p_events text[],
    p_texts text[]) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  me worker := worker_me();
  before bigint;
  most bigint := setting_of('log_lines');
BEGIN
  PERFORM need_values(num_nulls(p_job, p_attempt, p_claim), 'a fence');
  UPDATE job_attempt a SET log_lines = log_lines + cardinality(p_texts)
    WHERE a.job = p_job AND a.attempt = p_attempt AND a.claim = p_claim AND a.worker = me.no
      AND (a.ended_at IS NULL OR (a.outcome <> 'lost' AND a.ended_at > clock_timestamp() - interval '1 minute'))
      AND EXISTS (SELECT FROM job j WHERE j.id = p_job AND j.attempt = p_attempt)
    RETURNING a.log_lines - cardinality(p_texts) INTO before;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'attempt % no longer speaks for job %', p_attempt, p_job USING ERRCODE = 'HF001', DETAIL = 'job.fenced';
  END IF;
  INSERT INTO job_log(job, attempt, at, level, event, text)
    SELECT p_job, p_attempt, x.at, x.level, left(x.event, 80), left(x.text, 4000)
    FROM unnest(p_at, p_levels, p_events, p_texts) WITH ORDINALITY AS x(at, level, event, text, n)
    WHERE before + x.n <= most ORDER BY x.n;
END $$;
