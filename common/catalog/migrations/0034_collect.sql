-- Forgetting backups and collecting packs, for a login that was enrolled with the prune role and nobody else.
-- A backup dies in two steps: deleted_at says that nobody may use it any more, gone_at that its marker and its
-- manifest are off the store; only then do its packs count as unused. A pack dies in four: condemned (a commit
-- may still pardon it), deleting (irrevocable), its object off the store, deleted. Condemning and flipping raise
-- the repository's epoch; an object is deleted only when the epoch of its flip is in the store and confirmed.
ALTER TABLE worker ADD COLUMN pruner boolean NOT NULL DEFAULT false;
ALTER TABLE backup
  ADD COLUMN xact xid8 NOT NULL DEFAULT pg_current_xact_id(),        -- that committed it
  ADD COLUMN deleted_reason text,
  ADD COLUMN gone_at timestamptz,
  ADD COLUMN index_gone_at timestamptz;                              -- its packs and its index object are gone too
ALTER TABLE backup_copy
  ADD COLUMN xact xid8 NOT NULL DEFAULT pg_current_xact_id(),
  ADD COLUMN gone_at timestamptz;
ALTER TABLE pack
  ADD COLUMN late boolean NOT NULL DEFAULT false,                    -- its attempt was fenced: a PUT may still come
  ADD COLUMN deleted_at timestamptz,
  ADD COLUMN passes smallint NOT NULL DEFAULT 0,                     -- how often its object was deleted
  ADD COLUMN again_at timestamptz;                                   -- when it is deleted once more
CREATE INDEX backup_xact ON backup(repository, xact);
CREATE INDEX backup_going ON backup(repository) WHERE deleted_at IS NOT NULL AND gone_at IS NULL;
CREATE INDEX backup_index_going ON backup(repository) WHERE gone_at IS NOT NULL AND index_gone_at IS NULL;
CREATE INDEX pack_deleting ON pack(repository, no) WHERE state = 'deleting';
CREATE INDEX pack_again ON pack(repository, again_at) WHERE again_at IS NOT NULL;
CREATE UNIQUE INDEX job_one_collector ON job(repository) WHERE state = 'running' AND kind = 'prune';
INSERT INTO setting VALUES
  ('collect_share', 0.5, 'share: more than this of a repository is condemned only when somebody says why'),
  ('collect_few', 16, 'count: so few packs are condemned whatever share they are'),
  ('collect_flip', 4000, 'count: packs that one flip decides about, while commits wait'),
  ('prune_every_s', 86400, 'between two runs of the collector on a repository');

REVOKE UPDATE (deleted_at) ON backup FROM holdfast_scheduler;        -- a stolen one must not make a pruner forget

-- One run of the collector. What it saw when it looked for unused packs; newer commits are looked at by each flip.
CREATE TABLE collection (
  job        bigint,
  attempt    bigint,
  repository int NOT NULL REFERENCES repository,
  seen       pg_snapshot NOT NULL,
  at         timestamptz NOT NULL DEFAULT clock_timestamp(),
  confirmed  bigint,                                                 -- epoch that this attempt brought to the store
  PRIMARY KEY (job, attempt),
  FOREIGN KEY (job, attempt) REFERENCES job_attempt);

CREATE FUNCTION enroll_pruner(p_name text, p_pruner boolean) RETURNS void LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
BEGIN
  PERFORM need_values(num_nulls(p_name, p_pruner), 'enroll_pruner');
  EXECUTE format(CASE WHEN p_pruner THEN 'GRANT holdfast_pruner TO %I' ELSE 'REVOKE holdfast_pruner FROM %I' END, p_name);
  UPDATE worker SET pruner = p_pruner WHERE name = p_name AND retired_at IS NULL AND pruner IS DISTINCT FROM p_pruner;
  IF FOUND THEN
    INSERT INTO audit_event(actor, actor_kind, via, action, object, result, detail)
      VALUES (session_user, 'user', 'scheduler', 'worker.enroll', p_name, 'ok', jsonb_build_object('pruner', p_pruner));
  END IF;
END $$;

-- The session of the prune or retention job whose live claim the caller holds, as an enrolled pruner.
CREATE FUNCTION fence_prune(p_job bigint, p_attempt bigint, p_claim uuid) RETURNS session LANGUAGE plpgsql
  SET search_path = holdfast, pg_temp AS $$
DECLARE
  me worker := worker_me();
  j job := fence_job(p_job, p_attempt, p_claim, true);
BEGIN
  PERFORM need_read_committed();
  IF NOT me.pruner OR j.kind NOT IN ('prune', 'retention') THEN
    RAISE EXCEPTION 'worker % may not delete: enroll it with --prune', me.name USING ERRCODE = 'HF005', DETAIL = 'worker.no_pruner';
  END IF;
  RETURN fence_session(p_job, p_attempt);
END $$;

-- Refuses while the repository's catalogue and store do not fit each other, or after it was rebuilt.
CREATE FUNCTION collect_may(p_repository int) RETURNS void LANGUAGE plpgsql STABLE SET search_path = holdfast, pg_temp AS $$
DECLARE
  r repository;
BEGIN
  SELECT * INTO r FROM repository WHERE no = p_repository;
  IF r.rolled_back THEN
    RAISE EXCEPTION 'repository %/% or its catalogue was set back to an earlier day: nothing is deleted until holdfast catalogue merge',
      r.store, r.key_set USING ERRCODE = 'HF003', DETAIL = 'repo.rolled_back';
  ELSIF r.frozen_at IS NOT NULL THEN
    RAISE EXCEPTION 'repository %/% is frozen since %: %: nothing is deleted until holdfast retention resume', r.store, r.key_set,
      r.frozen_at, coalesce(r.frozen_reason, '') USING ERRCODE = 'HF003', DETAIL = 'repo.frozen';
  END IF;
END $$;

-- --- forgetting -----------------------------------------------------------------------------------

-- Says of each backup that nobody may use it any more, or why not: deleted, already, unknown, held, locked,
-- pinned (a job reads it at this moment), last_good (nothing else of its source is good).
CREATE FUNCTION backups_forget(p_job bigint, p_attempt bigint, p_claim uuid, p_backups uuid[], p_reasons text[])
  RETURNS TABLE (backup uuid, answer text, why text)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
  b backup;
  reader bigint;
  one record;
BEGIN
  PERFORM need_values(num_nulls(p_backups, p_reasons), 'backups_forget');
  PERFORM collect_may(s.repository);
  FOR one IN SELECT x.id, x.reason FROM unnest(p_backups, p_reasons) AS x(id, reason) ORDER BY x.id LOOP
    backup := one.id; answer := 'deleted'; why := coalesce(one.reason, '');
    SELECT * INTO b FROM backup x WHERE x.id = one.id AND x.repository = s.repository FOR UPDATE;
    SELECT j.id INTO reader FROM job j WHERE j.backup = one.id AND j.state = 'running' LIMIT 1;
    IF b.id IS NULL THEN
      answer := 'unknown'; why := 'this repository has no such backup';
    ELSIF b.deleted_at IS NOT NULL THEN
      answer := 'already'; why := coalesce(b.deleted_reason, '');
    ELSIF b.held_until > clock_timestamp() THEN
      answer := 'held'; why := format('held: %s', coalesce(b.held_reason, ''));
    ELSIF b.locked_until > clock_timestamp() THEN
      answer := 'locked'; why := format('locked until %s', b.locked_until);
    ELSIF reader IS NOT NULL THEN
      answer := 'pinned'; why := format('%s reads it', job_text(reader));
    ELSIF b.outcome = 'completed' AND EXISTS (SELECT FROM source x WHERE x.no = b.source AND x.retired_at IS NULL)
       AND NOT EXISTS (SELECT FROM backup x WHERE x.source = b.source AND x.id <> b.id AND x.outcome = 'completed' AND x.deleted_at IS NULL
         AND NOT EXISTS (SELECT FROM verification v WHERE v.backup = x.id AND v.result = 'failed')) THEN
      answer := 'last_good'; why := 'it is the last good backup of a source that the policy has';
    ELSE
      UPDATE backup x SET deleted_at = clock_timestamp(), deleted_reason = left(one.reason, 400) WHERE x.id = one.id;
      INSERT INTO audit_event(actor, actor_kind, via, action, object, reason, result, detail)
        SELECT j.actor, 'system', 'worker', 'backup.delete', one.id::text, left(one.reason, 400), 'ok',
          jsonb_build_object('job', p_job, 'source', (SELECT name FROM source WHERE no = b.source)) FROM job j WHERE j.id = p_job;
    END IF;
    RETURN NEXT;
  END LOOP;
END $$;

-- Backups that were deleted and whose objects may still be there.
CREATE FUNCTION forgets_due(p_job bigint, p_attempt bigint, p_claim uuid, p_most int)
  RETURNS TABLE (backup uuid, manifest_sha256 bytea, source text, reason text)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
BEGIN
  PERFORM collect_may(s.repository);
  RETURN QUERY SELECT b.id, b.manifest_sha256, src.name, coalesce(b.deleted_reason, '') FROM backup b JOIN source src ON src.no = b.source
    WHERE b.repository = s.repository AND b.deleted_at IS NOT NULL AND b.gone_at IS NULL ORDER BY b.id LIMIT p_most;
END $$;

CREATE FUNCTION forget_done(p_job bigint, p_attempt bigint, p_claim uuid, p_backup uuid) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
BEGIN
  UPDATE backup SET gone_at = coalesce(gone_at, clock_timestamp()) WHERE id = p_backup AND repository = s.repository AND deleted_at IS NOT NULL;
END $$;

-- What a session calls lost may have been deleted a moment before.
CREATE OR REPLACE FUNCTION repository_set_back(p_job bigint, p_attempt bigint, p_claim uuid, p_why text, p_lost uuid, p_epoch bigint)
  RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, true);
  s session := fence_session(p_job, p_attempt);
BEGIN
  PERFORM need_values(num_nulls(p_why), 'repository_set_back');
  IF EXISTS (SELECT FROM backup b WHERE b.id = p_lost AND b.deleted_at IS NOT NULL) THEN
    RETURN false;
  END IF;
  UPDATE repository r SET rolled_back = true, set_back_at = clock_timestamp(), set_back_epoch = coalesce(p_epoch, set_back_epoch)
    WHERE r.no = s.repository AND (r.set_back_at IS NULL
      OR (p_lost IS NULL AND p_epoch IS NULL)
      OR p_epoch IS DISTINCT FROM r.set_back_epoch AND p_epoch IS NOT NULL
      OR EXISTS (SELECT FROM backup b WHERE b.id = p_lost AND b.committed_at > r.set_back_at));
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  INSERT INTO event(kind, source, job, data) VALUES ('alert', j.source, j.id,
    jsonb_build_object('code', 'repo.rolled_back', 'repository', s.repository, 'text', left(p_why, 400)));
  INSERT INTO audit_event(actor, actor_kind, via, action, object, reason, result)
    SELECT w.name, 'worker', 'worker', 'repository.set_back', r.store || '/' || r.key_set, left(p_why, 400), 'ok'
    FROM repository r, worker_me() w WHERE r.no = s.repository;
  RETURN true;
END $$;

-- --- collecting -----------------------------------------------------------------------------------

CREATE FUNCTION pack_used(p_repository int) RETURNS TABLE (no bigint) LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT unnest(b.packs) FROM backup b WHERE b.repository = p_repository AND b.gone_at IS NULL
  UNION ALL SELECT unnest(c.packs) FROM backup_copy c WHERE c.repository = p_repository AND c.gone_at IS NULL $$;

-- What a run would condemn: packs that are live, whole and named by nothing. Damaged ones are evidence.
CREATE FUNCTION collect_look(p_job bigint, p_attempt bigint, p_claim uuid)
  RETURNS TABLE (unused bigint, unused_bytes bigint, live bigint, condemned bigint, dying bigint, damaged bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
BEGIN
  PERFORM collect_may(s.repository);
  RETURN QUERY SELECT count(*) FILTER (WHERE x.state = 'live' AND NOT x.used AND NOT x.hurt),
      coalesce(sum(x.bytes) FILTER (WHERE x.state = 'live' AND NOT x.used AND NOT x.hurt), 0)::bigint,
      count(*) FILTER (WHERE x.state = 'live'), count(*) FILTER (WHERE x.state = 'condemned'),
      count(*) FILTER (WHERE x.state = 'deleting'), count(*) FILTER (WHERE x.state = 'live' AND NOT x.used AND x.hurt)
    FROM (SELECT p.state, p.bytes, p.damaged_at IS NOT NULL AS hurt, u.no IS NOT NULL AS used
          FROM pack p LEFT JOIN (SELECT DISTINCT no FROM pack_used(s.repository)) u ON u.no = p.no
          WHERE p.repository = s.repository AND p.state <> 'deleted') x;
END $$;

-- Flip 1. Condemns what collect_look counts, pardons what is named again. Nobody waits for it: what a commit
-- names meanwhile is found by flip 2, which looks at every backup that was not seen here.
CREATE FUNCTION collect_condemn(p_job bigint, p_attempt bigint, p_claim uuid, p_anyway boolean)
  RETURNS TABLE (condemned bigint, bytes bigint, pardoned bigint, live bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
  next_epoch bigint;
BEGIN
  PERFORM need_values(num_nulls(p_anyway), 'collect_condemn');
  PERFORM pg_advisory_xact_lock(hashtextextended('holdfast.condemn', s.repository)); -- one at a time
  PERFORM collect_may(s.repository);
  INSERT INTO collection(job, attempt, repository, seen) VALUES (p_job, p_attempt, s.repository, pg_current_snapshot())
    ON CONFLICT (job, attempt) DO UPDATE SET seen = excluded.seen;
  SELECT r.gc_epoch + 1 INTO next_epoch FROM repository r WHERE r.no = s.repository;
  WITH used AS MATERIALIZED (SELECT DISTINCT u.no FROM pack_used(s.repository) u),
    moved AS (UPDATE pack p SET state = CASE p.state WHEN 'live' THEN 'condemned' ELSE 'live' END,
                condemned_epoch = CASE p.state WHEN 'live' THEN next_epoch END
              FROM (SELECT x.no FROM pack x LEFT JOIN used u ON u.no = x.no
                    WHERE x.repository = s.repository AND x.damaged_at IS NULL
                      AND (x.state = 'live' AND u.no IS NULL OR x.state = 'condemned' AND u.no IS NOT NULL)) c
              WHERE p.no = c.no AND p.state IN ('live', 'condemned') RETURNING p.state, p.bytes)
    SELECT count(*) FILTER (WHERE m.state = 'condemned'), coalesce(sum(m.bytes) FILTER (WHERE m.state = 'condemned'), 0)::bigint,
      count(*) FILTER (WHERE m.state = 'live') INTO condemned, bytes, pardoned FROM moved m;
  SELECT count(*) INTO live FROM pack p WHERE p.repository = s.repository AND p.state = 'live';
  IF NOT p_anyway AND condemned > setting_of('collect_few') AND condemned > (live + condemned) * setting_of('collect_share') THEN
    RAISE EXCEPTION '% of % packs are named by no backup, more than a share of %: if that is meant, say why: holdfast prune STORE --reason TEXT',
      condemned, live + condemned, setting_of('collect_share') USING ERRCODE = 'HF003', DETAIL = 'prune.too_much';
  END IF;
  IF condemned > 0 THEN -- its row is touched last: a commit waits for it
    UPDATE repository r SET gc_epoch = next_epoch WHERE r.no = s.repository AND r.gc_epoch < next_epoch;
  END IF;
  RETURN NEXT;
END $$;

-- Flip 2, some packs at a time, while commits to this repository wait. The row of the repository is taken first,
-- as a commit does. Lock and test are statements of their own: the test must see whoever was waited for.
CREATE FUNCTION collect_flip(p_job bigint, p_attempt bigint, p_claim uuid, p_most int)
  RETURNS TABLE (flipped bigint, bytes bigint, pardoned bigint, spared bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
  before pg_snapshot;
  floor_epoch bigint;
  next_epoch bigint;
  nos bigint[];
BEGIN
  SELECT c.seen INTO before FROM collection c WHERE c.job = p_job AND c.attempt = p_attempt AND c.repository = s.repository;
  IF before IS NULL THEN
    RAISE EXCEPTION 'attempt % of job % condemned nothing yet', p_attempt, p_job USING ERRCODE = 'HF004', DETAIL = 'prune.order';
  END IF;
  PERFORM set_config('lock_timeout', '100ms', true);
  UPDATE repository r SET gc_epoch = r.gc_epoch + 1 WHERE r.no = s.repository AND EXISTS (
      SELECT FROM pack p WHERE p.repository = s.repository AND p.state = 'condemned') RETURNING r.gc_epoch INTO next_epoch;
  IF next_epoch IS NULL THEN
    RETURN QUERY SELECT 0::bigint, 0::bigint, 0::bigint, 0::bigint;
    RETURN;
  END IF;
  PERFORM collect_may(s.repository);
  PERFORM pg_advisory_xact_lock(hashtextextended('holdfast.flip', s.repository));
  SELECT coalesce(min(x.base_epoch), 9223372036854775807) INTO floor_epoch FROM session x JOIN job j ON j.id = x.job
    WHERE x.repository = s.repository AND x.state = 'open' AND (x.writes OR j.kind NOT IN ('prune', 'retention'));
  SELECT array_agg(x.no) INTO nos FROM (SELECT p.no FROM pack p WHERE p.repository = s.repository AND p.state = 'condemned'
      AND p.condemned_epoch <= floor_epoch AND p.damaged_at IS NULL ORDER BY p.condemned_epoch, p.no
      LIMIT least(p_most, setting_of('collect_flip')::int, 10000)) x;
  WITH used AS MATERIALIZED (
      SELECT DISTINCT u.no FROM backup b CROSS JOIN LATERAL unnest(b.packs) u(no)
        WHERE b.repository = s.repository AND b.gone_at IS NULL
          AND b.xact >= pg_snapshot_xmin(before) AND NOT pg_visible_in_snapshot(b.xact, before)
      UNION SELECT u.no FROM backup_copy c CROSS JOIN LATERAL unnest(c.packs) u(no)
        WHERE c.repository = s.repository AND c.gone_at IS NULL
          AND c.xact >= pg_snapshot_xmin(before) AND NOT pg_visible_in_snapshot(c.xact, before)),
    moved AS (UPDATE pack p SET state = CASE WHEN x.used THEN 'live' ELSE 'deleting' END, condemned_epoch = CASE WHEN x.used THEN NULL ELSE next_epoch END
              FROM (SELECT n.no, u.no IS NOT NULL AS used FROM unnest(nos) n(no) LEFT JOIN used u ON u.no = n.no) x
              WHERE p.no = x.no AND p.state = 'condemned' RETURNING p.state, p.bytes)
    SELECT count(*) FILTER (WHERE m.state = 'deleting'), coalesce(sum(m.bytes) FILTER (WHERE m.state = 'deleting'), 0)::bigint,
      count(*) FILTER (WHERE m.state = 'live') INTO flipped, bytes, pardoned FROM moved m;
  SELECT count(*) INTO spared FROM pack p WHERE p.repository = s.repository AND p.state = 'condemned' AND p.condemned_epoch > floor_epoch;
  RETURN NEXT;
END $$;

-- What must be in the store before anything is deleted. Packs that were swept, because nobody can ever adopt
-- them, die by an epoch too: a catalogue that forgot the sweep must not adopt what is gone.
CREATE FUNCTION collect_epoch(p_job bigint, p_attempt bigint, p_claim uuid) RETURNS TABLE (epoch bigint, confirmed bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
  r repository;
BEGIN
  PERFORM collect_may(s.repository);
  IF EXISTS (SELECT FROM pack p WHERE p.repository = s.repository AND p.state = 'deleting' AND p.condemned_epoch IS NULL) THEN
    UPDATE repository x SET gc_epoch = x.gc_epoch + 1 WHERE x.no = s.repository;
    UPDATE pack p SET condemned_epoch = x.gc_epoch, late = true FROM repository x
      WHERE x.no = s.repository AND p.repository = s.repository AND p.state = 'deleting' AND p.condemned_epoch IS NULL;
  END IF;
  SELECT * INTO r FROM repository x WHERE x.no = s.repository;
  RETURN QUERY SELECT r.gc_epoch, r.confirmed_epoch;
END $$;

CREATE FUNCTION collect_confirm(p_job bigint, p_attempt bigint, p_claim uuid, p_epoch bigint) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
BEGIN
  PERFORM need_values(num_nulls(p_epoch), 'collect_confirm');
  PERFORM collect_may(s.repository);
  UPDATE repository SET confirmed_epoch = greatest(confirmed_epoch, p_epoch) WHERE no = s.repository AND gc_epoch >= p_epoch;
  INSERT INTO collection(job, attempt, repository, seen, confirmed) VALUES (p_job, p_attempt, s.repository, pg_current_snapshot(), p_epoch)
    ON CONFLICT (job, attempt) DO UPDATE SET confirmed = excluded.confirmed;
END $$;

-- Objects to delete: of packs whose death is confirmed, and once more of those that a late PUT may have made
-- again. Index objects of which every pack is gone have no pack number.
CREATE FUNCTION collect_dead(p_job bigint, p_attempt bigint, p_claim uuid, p_after bigint, p_most int)
  RETURNS TABLE (no bigint, object uuid, bytes bigint, again boolean)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
BEGIN
  PERFORM collect_may(s.repository);
  RETURN QUERY SELECT p.no, p.object, coalesce(p.bytes, 0), p.state = 'deleted' FROM pack p JOIN repository r ON r.no = p.repository
    WHERE p.repository = s.repository AND p.no > p_after
      AND (p.state = 'deleting' AND p.condemned_epoch <= r.confirmed_epoch OR p.state = 'deleted' AND p.again_at <= clock_timestamp())
    ORDER BY p.no LIMIT p_most;
END $$;

CREATE FUNCTION collect_gone(p_job bigint, p_attempt bigint, p_claim uuid, p_nos bigint[]) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
  mine bigint[];
BEGIN
  PERFORM need_values(num_nulls(p_nos), 'collect_gone');
  WITH moved AS (UPDATE pack p SET state = 'deleted', deleted_at = coalesce(p.deleted_at, clock_timestamp()), passes = p.passes + 1,
      again_at = CASE WHEN p.late THEN clock_timestamp() + (ARRAY['1 hour', '24 hours', '7 days']::interval[])[p.passes + 1] END
    FROM repository r WHERE r.no = s.repository AND p.repository = r.no AND p.no = ANY (p_nos)
      AND (p.state = 'deleting' AND p.condemned_epoch <= r.confirmed_epoch OR p.state = 'deleted')
    RETURNING p.no)
  SELECT coalesce(array_agg(no), '{}') INTO mine FROM moved;
  DELETE FROM chunk WHERE pack_no = ANY (mine);
  RETURN cardinality(mine);
END $$;

CREATE FUNCTION collect_indexes(p_job bigint, p_attempt bigint, p_claim uuid, p_most int) RETURNS TABLE (backup uuid, object uuid)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
BEGIN
  PERFORM collect_may(s.repository);
  RETURN QUERY SELECT b.id, b.index_object FROM backup b WHERE b.repository = s.repository AND b.gone_at IS NOT NULL AND b.index_gone_at IS NULL
    AND NOT EXISTS (SELECT FROM pack p WHERE p.no = ANY (b.packs) AND p.job = b.job AND p.state <> 'deleted') LIMIT p_most;
END $$;

CREATE FUNCTION collect_indexes_gone(p_job bigint, p_attempt bigint, p_claim uuid, p_backups uuid[]) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
BEGIN
  PERFORM need_values(num_nulls(p_backups), 'collect_indexes_gone');
  UPDATE backup SET index_gone_at = clock_timestamp() WHERE id = ANY (p_backups) AND repository = s.repository AND gone_at IS NOT NULL;
END $$;

-- What a run did, for whoever asks later who deleted what.
CREATE FUNCTION collect_tell(p_job bigint, p_attempt bigint, p_claim uuid, p_done jsonb) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
BEGIN
  PERFORM need_values(num_nulls(p_done), 'collect_tell');
  INSERT INTO audit_event(actor, actor_kind, via, action, object, reason, result, detail)
    SELECT w.name, 'worker', 'worker', 'repository.prune', r.store || '/' || r.key_set, j.params ->> 'reason', 'ok',
      p_done || jsonb_build_object('job', p_job) FROM repository r, worker_me() w, job j WHERE r.no = s.repository AND j.id = p_job;
END $$;
GRANT EXECUTE ON FUNCTION backups_forget, forgets_due, forget_done, collect_look, collect_condemn, collect_flip, collect_epoch, collect_confirm,
  collect_dead, collect_gone, collect_indexes, collect_indexes_gone, collect_tell TO holdfast_pruner;

-- --- the jobs -------------------------------------------------------------------------------------

-- Where a live pruner waits that may serve this repository; the pool `default` when there is none.
CREATE FUNCTION prune_pool(p_repository int) RETURNS int LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT coalesce((SELECT p.no FROM repository r, worker w
      JOIN worker_instance i ON i.worker = w.no AND i.bye_at IS NULL
        AND i.seen_at > clock_timestamp() - make_interval(secs => greatest(setting_of('lease_s'), setting_of('liveness_s')))
      JOIN pool p ON p.no = ANY (w.pools)
      WHERE r.no = p_repository AND w.retired_at IS NULL AND w.pruner AND NOT w.drain AND i.facts -> 'roles' ? 'prune'
        AND (NOT i.facts ? 'stores' OR i.facts -> 'stores' ? r.store)
        AND (r.key_set = '' OR NOT i.facts ? 'key_sets' OR i.facts -> 'key_sets' ? r.key_set)
      ORDER BY p.name LIKE 'host:%', p.name LIMIT 1), (SELECT no FROM pool WHERE name = 'default')) $$;

-- A job about a whole repository: prune, retention. p_key_set NULL: the store's only one.
CREATE FUNCTION repository_job(p_kind text, p_trigger text, p_store text, p_key_set text, p_params jsonb, p_actor text, p_key text)
  RETURNS TABLE (job bigint, pool int, again boolean) LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  nos int[];
  known job;
  none source;
  in_pool int;
BEGIN
  PERFORM need_values(num_nulls(p_kind, p_trigger, p_store, p_params, p_actor), 'repository_job');
  IF p_key IS NOT NULL THEN
    PERFORM pg_advisory_xact_lock(hashtextextended('holdfast.key ' || p_actor || ' ' || p_key, 0));
    SELECT * INTO known FROM job j WHERE j.actor = p_actor AND j.idempotency_key = p_key;
    IF FOUND THEN
      RETURN QUERY SELECT known.id, known.pool, true;
      RETURN;
    END IF;
  END IF;
  SELECT array_agg(r.no ORDER BY r.no) INTO nos FROM repository r WHERE r.store = p_store AND (p_key_set IS NULL OR r.key_set = p_key_set);
  IF nos IS NULL THEN
    RAISE EXCEPTION 'no repository lies in store %', p_store USING ERRCODE = 'HF002', DETAIL = 'store.unknown';
  ELSIF cardinality(nos) > 1 THEN
    RAISE EXCEPTION 'store % holds the repositories of several key sets: say which, one of %', p_store,
      (SELECT string_agg(CASE r.key_set WHEN '' THEN 'plain' ELSE r.key_set END, ', ' ORDER BY r.no) FROM repository r WHERE r.no = ANY (nos))
      USING ERRCODE = 'HF004', DETAIL = 'store.several';
  END IF;
  PERFORM pool_named('default');
  in_pool := prune_pool(nos[1]);
  RETURN QUERY SELECT job_new(p_kind, p_trigger, none, NULL, NULL, p_params, in_pool, p_actor, p_key, 0, 'pending', NULL, nos[1], NULL), in_pool, false;
END $$;
GRANT EXECUTE ON FUNCTION prune_pool, repository_job TO holdfast_scheduler;
