-- What an earlier attempt of this restore said that it brought back, or NULL. An attempt says so before it takes away what told its
-- target unfinished; if it is lost before its end is written down, the next one finds these words and not a target that is not empty.
CREATE FUNCTION restore_answered(p_job bigint, p_attempt bigint, p_claim uuid) RETURNS text LANGUAGE plpgsql
  SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, false);
BEGIN
  RETURN (SELECT x.answer FROM job_answer x WHERE x.job = j.id AND x.attempt < j.attempt AND j.kind = 'restore');
END $$;

REVOKE ALL ON FUNCTION restore_answered FROM PUBLIC;
GRANT EXECUTE ON FUNCTION restore_answered TO holdfast_worker;
