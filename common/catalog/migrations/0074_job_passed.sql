-- A dead attempt of a restore owes the starts of what it had stopped, but not while a later attempt of the same job runs: that
-- one has stopped them again, and starts them when it is over. Answers of any job of this worker's host.
CREATE FUNCTION job_passed(p_job bigint, p_attempt bigint) RETURNS boolean LANGUAGE plpgsql STABLE SECURITY DEFINER
  SET search_path = holdfast, pg_temp AS $$
DECLARE
  me worker := worker_me();
BEGIN
  PERFORM need_values(num_nulls(p_job, p_attempt), 'job_passed');
  IF NOT EXISTS (SELECT FROM job_attempt a JOIN worker w ON w.no = a.worker WHERE a.job = p_job AND a.attempt = p_attempt AND w.host = me.host) THEN
    RAISE EXCEPTION 'attempt % of job % was no worker''s of %', p_attempt, p_job, me.host USING ERRCODE = 'HF005', DETAIL = 'job.not_ours';
  END IF;
  RETURN EXISTS (SELECT FROM job j WHERE j.id = p_job AND j.attempt > p_attempt AND j.state = 'running');
END $$;
REVOKE ALL ON FUNCTION job_passed FROM PUBLIC;
GRANT EXECUTE ON FUNCTION job_passed TO holdfast_worker;
