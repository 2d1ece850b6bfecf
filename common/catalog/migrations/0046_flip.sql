-- A flip of four thousand packs compared each of them with each pack of the commits that it must look at: seconds in a
-- large repository, while commits waited. Now it hashes; it looks at commits before it takes the lock, and under the
-- lock only at those that came meanwhile; and what one flip has looked at the next does not. Lock and test stay
-- statements of their own: the test must see whoever was waited for.

DROP INDEX pack_condemned;
CREATE INDEX pack_condemned ON pack(repository, condemned_epoch, no) WHERE state = 'condemned';

-- Which of the condemned packs are named by what was committed since a snapshot.
CREATE FUNCTION collect_named(p_repository int, p_since pg_snapshot) RETURNS bigint[] LANGUAGE plpgsql SET search_path = holdfast, pg_temp
  SET jit = off AS $$
DECLARE
  since xid8 := pg_snapshot_xmin(p_since);
BEGIN
  IF NOT EXISTS (SELECT FROM backup b WHERE b.repository = p_repository AND b.xact >= since AND NOT pg_visible_in_snapshot(b.xact, p_since))
     AND NOT EXISTS (SELECT FROM backup_copy c WHERE c.repository = p_repository AND c.xact >= since AND NOT pg_visible_in_snapshot(c.xact, p_since)) THEN
    RETURN '{}'; -- as nearly always: then nothing is read
  END IF;
  RETURN array((
      SELECT u.no FROM backup b CROSS JOIN LATERAL unnest(b.packs) u(no)
        WHERE b.repository = p_repository AND b.gone_at IS NULL AND b.xact >= since AND NOT pg_visible_in_snapshot(b.xact, p_since)
      UNION ALL SELECT u.no FROM backup_copy c CROSS JOIN LATERAL unnest(c.packs) u(no)
        WHERE c.repository = p_repository AND c.gone_at IS NULL AND c.xact >= since AND NOT pg_visible_in_snapshot(c.xact, p_since))
    INTERSECT SELECT p.no FROM pack p WHERE p.repository = p_repository AND p.state = 'condemned');
END $$;
REVOKE ALL ON FUNCTION collect_named FROM PUBLIC;

CREATE OR REPLACE FUNCTION collect_flip(p_job bigint, p_attempt bigint, p_claim uuid, p_most int)
  RETURNS TABLE (flipped bigint, bytes bigint, pardoned bigint, spared bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
  before pg_snapshot;
  floor_epoch bigint;
  next_epoch bigint;
  nos bigint[];
  named bigint[];
  looked pg_snapshot;
BEGIN
  SELECT c.seen INTO before FROM collection c WHERE c.job = p_job AND c.attempt = p_attempt AND c.repository = s.repository;
  IF before IS NULL THEN
    RAISE EXCEPTION 'attempt % of job % condemned nothing yet', p_attempt, p_job USING ERRCODE = 'HF004', DETAIL = 'prune.order';
  END IF;
  looked := pg_current_snapshot();
  named := collect_named(s.repository, before);
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
  named := named || collect_named(s.repository, looked);
  UPDATE pack p SET state = 'live', condemned_epoch = NULL WHERE p.no = ANY (named) AND p.state = 'condemned';
  GET DIAGNOSTICS pardoned = ROW_COUNT;
  WITH moved AS (UPDATE pack p SET state = 'deleting', condemned_epoch = next_epoch
      WHERE p.no = ANY (array(SELECT unnest(nos) EXCEPT SELECT unnest(named))) AND p.state = 'condemned' RETURNING p.bytes)
    SELECT count(*), coalesce(sum(m.bytes), 0)::bigint INTO flipped, bytes FROM moved m;
  UPDATE collection c SET seen = looked WHERE c.job = p_job AND c.attempt = p_attempt;
  SELECT count(*) INTO spared FROM pack p WHERE p.repository = s.repository AND p.state = 'condemned' AND p.condemned_epoch > floor_epoch;
  RETURN NEXT;
END $$;

-- So few that a commit does not feel it: an update of a pack goes into each of its indexes.
UPDATE setting SET value = 500 WHERE name = 'collect_flip' AND value = 4000;
