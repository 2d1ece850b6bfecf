-- Who asks for collection: an operator, or the clock, once a day for each repository that a live pruner serves.
CREATE INDEX job_prune ON job(repository, created_at) WHERE kind = 'prune';

-- The epoch in the store is the one that a collector left behind which was taken for dead and woke up later: it was
-- never confirmed, and other collectors have confirmed newer ones since. The next collector writes it anew.
CREATE FUNCTION epoch_is_late(p_job bigint, p_attempt bigint, p_claim uuid, p_epoch bigint, p_by_job bigint, p_by_attempt bigint) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, false);
  s session := fence_session(p_job, p_attempt);
BEGIN
  PERFORM need_values(num_nulls(p_epoch, p_by_job, p_by_attempt), 'epoch_is_late');
  RETURN EXISTS (SELECT FROM collection c JOIN job_attempt a ON a.job = c.job AND a.attempt = c.attempt JOIN repository r ON r.no = c.repository
    WHERE c.job = p_by_job AND c.attempt = p_by_attempt AND c.repository = s.repository AND a.ended_at IS NOT NULL
      AND (c.confirmed IS NULL OR c.confirmed < p_epoch) AND p_epoch < r.confirmed_epoch);
END $$;
GRANT EXECUTE ON FUNCTION epoch_is_late TO holdfast_worker;

-- Why this backup may not be forgotten; no row: it may.
CREATE FUNCTION forget_refusal(b backup) RETURNS TABLE (answer text, why text) LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT x.answer, x.why FROM (
    SELECT 1 AS n, 'already' AS answer, coalesce(b.deleted_reason, '') AS why WHERE b.deleted_at IS NOT NULL
    UNION ALL SELECT 2, 'held', format('it is held: %s', coalesce(b.held_reason, '')) WHERE b.held_until > clock_timestamp()
    UNION ALL SELECT 3, 'locked', format('it is locked until %s', b.locked_until) WHERE b.locked_until > clock_timestamp()
    UNION ALL SELECT 4, 'pinned', format('%s reads it', job_text(j.id)) FROM job j WHERE j.backup = b.id AND j.state = 'running'
    UNION ALL SELECT 5, 'last_good', 'it is the last good backup of a source that the policy has'
      WHERE b.outcome = 'completed' AND EXISTS (SELECT FROM source x WHERE x.no = b.source AND x.retired_at IS NULL)
        AND NOT EXISTS (SELECT FROM backup x WHERE x.source = b.source AND x.id <> b.id AND x.outcome = 'completed' AND x.deleted_at IS NULL
          AND NOT EXISTS (SELECT FROM verification v WHERE v.backup = x.id AND v.result = 'failed'))) x
  ORDER BY x.n LIMIT 1 $$;

CREATE OR REPLACE FUNCTION backups_forget(p_job bigint, p_attempt bigint, p_claim uuid, p_backups uuid[], p_reasons text[])
  RETURNS TABLE (backup uuid, answer text, why text)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
  b backup;
  no record;
  one record;
BEGIN
  PERFORM need_values(num_nulls(p_backups, p_reasons), 'backups_forget');
  PERFORM collect_may(s.repository);
  FOR one IN SELECT x.id, x.reason FROM unnest(p_backups, p_reasons) AS x(id, reason) ORDER BY x.id LOOP
    backup := one.id; answer := 'deleted'; why := coalesce(one.reason, '');
    SELECT * INTO b FROM backup x WHERE x.id = one.id AND x.repository = s.repository FOR UPDATE;
    SELECT * INTO no FROM forget_refusal(b);
    IF b.id IS NULL THEN
      answer := 'unknown'; why := 'this repository has no such backup';
    ELSIF no.answer IS NOT NULL THEN
      answer := no.answer; why := no.why;
    ELSE
      UPDATE backup x SET deleted_at = clock_timestamp(), deleted_reason = left(one.reason, 400) WHERE x.id = one.id;
      INSERT INTO audit_event(actor, actor_kind, via, action, object, reason, result, detail)
        SELECT j.actor, 'system', 'worker', 'backup.delete', one.id::text, left(one.reason, 400), 'ok',
          jsonb_build_object('job', p_job, 'source', (SELECT name FROM source WHERE no = b.source)) FROM job j WHERE j.id = p_job;
    END IF;
    RETURN NEXT;
  END LOOP;
END $$;

-- A job that forgets one backup; refused at once where the job would refuse.
CREATE FUNCTION backup_delete(p_backup uuid, p_reason text, p_actor text, p_key text) RETURNS TABLE (job bigint, pool int, again boolean)
  LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  b backup;
  r repository;
  no record;
BEGIN
  IF coalesce(btrim(p_reason), '') = '' THEN
    RAISE EXCEPTION 'a backup is not deleted without a reason' USING ERRCODE = 'HF004', DETAIL = 'backup.reason';
  END IF;
  SELECT * INTO b FROM backup x WHERE x.id = p_backup;
  IF b.id IS NULL THEN
    RAISE EXCEPTION 'no backup has the id %', p_backup USING ERRCODE = 'HF002', DETAIL = 'backup.unknown';
  END IF;
  SELECT * INTO no FROM forget_refusal(b);
  IF no.answer IS NOT NULL THEN
    RAISE EXCEPTION 'this backup is not deleted: %', no.why USING ERRCODE = 'HF003', DETAIL = 'backup.' || no.answer;
  END IF;
  PERFORM collect_may(b.repository);
  SELECT * INTO r FROM repository x WHERE x.no = b.repository;
  RETURN QUERY SELECT x.job, x.pool, x.again FROM repository_job('prune', 'manual', r.store, r.key_set,
    jsonb_build_object('forget', jsonb_build_array(p_backup), 'reason', p_reason), p_actor, p_key) x;
END $$;

-- Once a day for each repository that a live pruner serves; jobs that wait go where one is.
CREATE FUNCTION prunes_fire() RETURNS bigint LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  none source;
  made bigint;
BEGIN
  UPDATE job j SET pool = prune_pool(j.repository) WHERE j.state = 'pending' AND j.kind IN ('prune', 'retention') AND j.repository IS NOT NULL
    AND j.pool IS DISTINCT FROM prune_pool(j.repository);
  SELECT count(job_new('prune', 'scheduled', none, NULL, NULL, '{}', prune_pool(r.no), 'scheduler', NULL, 0, 'pending', NULL, r.no, NULL)) INTO made
    FROM repository r WHERE r.id IS NOT NULL AND NOT r.rolled_back AND r.frozen_at IS NULL
      AND EXISTS (SELECT FROM backup b WHERE b.repository = r.no)
      AND NOT EXISTS (SELECT FROM job j WHERE j.repository = r.no AND j.kind = 'prune' AND NOT j.params ? 'forget'
        AND j.created_at > clock_timestamp() - make_interval(secs => setting_of('prune_every_s')))
      AND NOT EXISTS (SELECT FROM job j WHERE j.repository = r.no AND j.kind = 'prune' AND j.state IN ('pending', 'queued', 'running'))
      AND EXISTS (SELECT FROM worker w JOIN worker_instance i ON i.worker = w.no AND i.bye_at IS NULL
        AND i.seen_at > clock_timestamp() - make_interval(secs => greatest(setting_of('lease_s'), setting_of('liveness_s')))
        WHERE w.retired_at IS NULL AND w.pruner AND i.facts -> 'roles' ? 'prune' AND prune_pool(r.no) = ANY (w.pools));
  RETURN made;
END $$;
GRANT EXECUTE ON FUNCTION forget_refusal, collect_may, backup_delete, prunes_fire TO holdfast_scheduler;
