-- A worker that finds the store, or the catalogue, set back to an earlier day says so: from then on no
-- session builds on what was there before, and whoever watches is told. Only a merge ends it.
CREATE FUNCTION repository_set_back(p_job bigint, p_attempt bigint, p_claim uuid, p_why text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, true);
  s session := fence_session(p_job, p_attempt);
BEGIN
  UPDATE repository SET rolled_back = true WHERE no = s.repository AND NOT rolled_back;
  IF FOUND THEN
    INSERT INTO event(kind, source, job, data) VALUES ('alert', j.source, j.id,
      jsonb_build_object('code', 'repo.rolled_back', 'repository', s.repository, 'text', left(p_why, 400)));
    INSERT INTO audit_event(actor, actor_kind, via, action, object, reason, result)
      SELECT w.name, 'worker', 'worker', 'repository.set_back', r.store || '/' || r.key_set, left(p_why, 400), 'ok'
      FROM repository r, worker_me() w WHERE r.no = s.repository;
  END IF;
END $$;
GRANT EXECUTE ON FUNCTION repository_set_back TO holdfast_worker;
