-- A flip of 500 packs took up to seconds of one million where the machine had other work: each update goes into leaves of
-- three large indexes, and they were read while commits waited. Now a flip reads them before it takes the lock, decides
-- about as many packs as the ones before say (its setting is the most), and always goes by the index: when nothing was
-- left it read the whole table. And what one call condemned at once, for as long as it took, is a list now and then some
-- packs a call, so that no call is taken for a server that does not answer.
ALTER TABLE collection
  ADD COLUMN most int,                                               -- that the next flip decides about; NULL: it starts
  ADD COLUMN held_ms double precision,                               -- the longest that commits waited for one of this run
  ADD COLUMN listed boolean NOT NULL DEFAULT false,                  -- what it condemns is in collection_unused
  ADD COLUMN condemned bigint NOT NULL DEFAULT 0,
  ADD COLUMN bytes bigint NOT NULL DEFAULT 0,
  ADD COLUMN pardoned bigint NOT NULL DEFAULT 0,
  ADD COLUMN live bigint NOT NULL DEFAULT 0;
CREATE TABLE collection_unused (
  repository int NOT NULL,
  job        bigint NOT NULL,
  attempt    bigint NOT NULL,
  no         bigint NOT NULL,
  PRIMARY KEY (repository, job, attempt, no));
INSERT INTO setting VALUES
  ('collect_wait_s', 0.03, 'that commits should wait for one flip: the next one takes fewer packs, or more'),
  ('collect_condemn', 5000, 'count: packs that one call condemns');

-- Flip 1, some packs a call, until left is 0. The first call lists what collect_look counts, pardons what is named again
-- and refuses a run that takes too much; the others condemn. Nobody waits for it: what a commit names since the list was
-- made is found by flip 2, which looks at every backup that was not seen then. Counts are those of the run.
DROP FUNCTION collect_condemn;
CREATE FUNCTION collect_condemn(p_job bigint, p_attempt bigint, p_claim uuid, p_anyway boolean)
  RETURNS TABLE (condemned bigint, bytes bigint, pardoned bigint, live bigint, remaining bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
  n collection;
  unused bigint;
  alive bigint;
  back bigint;
  next_epoch bigint;
  now_condemned bigint;
  now_bytes bigint;
BEGIN
  PERFORM need_values(num_nulls(p_anyway), 'collect_condemn');
  PERFORM pg_advisory_xact_lock(hashtextextended('holdfast.condemn', s.repository)); -- one at a time
  PERFORM collect_may(s.repository);
  SELECT * INTO n FROM collection c WHERE c.job = p_job AND c.attempt = p_attempt AND c.listed;
  IF n.job IS NULL THEN
    DELETE FROM collection_unused u WHERE u.repository = s.repository; -- an attempt that ended left it
    INSERT INTO collection(job, attempt, repository, seen) VALUES (p_job, p_attempt, s.repository, pg_current_snapshot())
      ON CONFLICT (job, attempt) DO UPDATE SET seen = excluded.seen;
    WITH used AS MATERIALIZED (SELECT DISTINCT u.no FROM pack_used(s.repository) u),
      there AS MATERIALIZED (SELECT p.no, p.state, u.no IS NOT NULL AS used FROM pack p LEFT JOIN used u ON u.no = p.no
        WHERE p.repository = s.repository AND p.state IN ('live', 'condemned')),
      pardon AS (UPDATE pack p SET state = 'live', condemned_epoch = NULL FROM there t
        WHERE t.state = 'condemned' AND t.used AND p.no = t.no AND p.state = 'condemned' RETURNING 1),
      list AS (INSERT INTO collection_unused(repository, job, attempt, no) SELECT s.repository, p_job, p_attempt, t.no FROM there t
        WHERE t.state = 'live' AND NOT t.used RETURNING 1)
      SELECT (SELECT count(*) FROM list), (SELECT count(*) FROM there t WHERE t.state = 'live'), (SELECT count(*) FROM pardon) INTO unused, alive, back;
    IF NOT p_anyway AND unused > setting_of('collect_few') AND unused > (alive + back) * setting_of('collect_share') THEN
      RAISE EXCEPTION '% of % packs are named by no backup, more than a share of %: if that is meant, say why: holdfast prune STORE --reason TEXT',
        unused, alive + back, setting_of('collect_share') USING ERRCODE = 'HF003', DETAIL = 'prune.too_much';
    END IF;
    UPDATE collection c SET listed = unused > 0, condemned = 0, bytes = 0, pardoned = back, live = alive + back - unused
      WHERE c.job = p_job AND c.attempt = p_attempt;
    RETURN QUERY SELECT 0::bigint, 0::bigint, back, alive + back - unused, unused;
    RETURN;
  END IF;
  SELECT r.gc_epoch + 1 INTO next_epoch FROM repository r WHERE r.no = s.repository;
  WITH taken AS (DELETE FROM collection_unused u WHERE u.repository = s.repository AND u.job = p_job AND u.attempt = p_attempt
        AND u.no = ANY (array(SELECT x.no FROM collection_unused x WHERE x.repository = s.repository AND x.job = p_job AND x.attempt = p_attempt
          ORDER BY x.no LIMIT setting_of('collect_condemn')::int)) RETURNING u.no),
    moved AS (UPDATE pack p SET state = 'condemned', condemned_epoch = next_epoch FROM taken
      WHERE p.no = taken.no AND p.repository = s.repository AND p.state = 'live' RETURNING p.bytes)
    SELECT count(*), coalesce(sum(m.bytes), 0)::bigint INTO now_condemned, now_bytes FROM moved m;
  SELECT count(*) INTO unused FROM collection_unused u WHERE u.repository = s.repository AND u.job = p_job AND u.attempt = p_attempt;
  UPDATE collection c SET condemned = c.condemned + now_condemned, bytes = c.bytes + now_bytes, listed = unused > 0
    WHERE c.job = p_job AND c.attempt = p_attempt RETURNING * INTO n;
  IF now_condemned > 0 THEN -- its row is touched last: a commit waits for it
    UPDATE repository r SET gc_epoch = next_epoch WHERE r.no = s.repository AND r.gc_epoch < next_epoch;
  END IF;
  RETURN QUERY SELECT n.condemned, n.bytes, n.pardoned, n.live, unused;
END $$;
REVOKE ALL ON FUNCTION collect_condemn FROM PUBLIC;
GRANT EXECUTE ON FUNCTION collect_condemn TO holdfast_pruner;

-- Reads what a change of these packs will touch, for the one who locks next.
CREATE FUNCTION collect_warm(p_repository int, p_most int) RETURNS bigint LANGUAGE plpgsql SET search_path = holdfast, pg_temp
  SET jit = off SET enable_seqscan = off AS $$
DECLARE
  seen bigint;
BEGIN
  SELECT count(*) INTO seen FROM (SELECT p.object, p.pack FROM pack p WHERE p.repository = p_repository AND p.state = 'condemned'
      ORDER BY p.condemned_epoch, p.no LIMIT p_most) x
    CROSS JOIN LATERAL (SELECT FROM pack y WHERE y.repository = p_repository AND y.object = x.object OFFSET 0) a
    CROSS JOIN LATERAL (SELECT FROM pack y WHERE y.repository = p_repository AND y.pack = x.pack OFFSET 0) b;
  RETURN seen;
END $$;
REVOKE ALL ON FUNCTION collect_warm FROM PUBLIC;

CREATE OR REPLACE FUNCTION collect_flip(p_job bigint, p_attempt bigint, p_claim uuid, p_most int)
  RETURNS TABLE (flipped bigint, bytes bigint, pardoned bigint, spared bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
  before pg_snapshot;
  floor_epoch bigint;
  next_epoch bigint;
  nos bigint[];
  named bigint[];
  looked pg_snapshot;
  upto int := least(p_most, setting_of('collect_flip')::int, 10000); -- packs, whatever the pace
  pace int;
  since timestamptz;
  held double precision;
BEGIN
  SELECT c.seen, least(upto, coalesce(c.most, 100)) INTO before, pace FROM collection c
    WHERE c.job = p_job AND c.attempt = p_attempt AND c.repository = s.repository;
  IF before IS NULL THEN
    RAISE EXCEPTION 'attempt % of job % condemned nothing yet', p_attempt, p_job USING ERRCODE = 'HF004', DETAIL = 'prune.order';
  END IF;
  looked := pg_current_snapshot();
  named := collect_named(s.repository, before);
  PERFORM collect_warm(s.repository, pace);
  PERFORM set_config('lock_timeout', '100ms', true);
  since := clock_timestamp();
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
      AND p.condemned_epoch <= floor_epoch ORDER BY p.condemned_epoch, p.no LIMIT pace) x;
  named := named || collect_named(s.repository, looked);
  UPDATE pack p SET state = 'live', condemned_epoch = NULL WHERE p.no = ANY (named) AND p.state = 'condemned';
  GET DIAGNOSTICS pardoned = ROW_COUNT;
  WITH moved AS (UPDATE pack p SET state = 'deleting', condemned_epoch = next_epoch
      WHERE p.no = ANY (array(SELECT unnest(nos) EXCEPT SELECT unnest(named))) AND p.state = 'condemned' RETURNING p.bytes)
    SELECT count(*), coalesce(sum(m.bytes), 0)::bigint INTO flipped, bytes FROM moved m;
  SELECT count(*) INTO spared FROM pack p WHERE p.repository = s.repository AND p.state = 'condemned' AND p.condemned_epoch > floor_epoch;
  held := extract(epoch FROM clock_timestamp() - since);
  UPDATE collection c SET seen = looked, held_ms = greatest(c.held_ms, held * 1000), most = CASE
      WHEN held > 2 * setting_of('collect_wait_s') THEN greatest(10, pace / 4)
      WHEN held > setting_of('collect_wait_s') THEN greatest(10, pace / 2)
      WHEN held < setting_of('collect_wait_s') / 4 AND flipped >= pace THEN least(10000, pace * 2) ELSE greatest(pace, c.most) END
    WHERE c.job = p_job AND c.attempt = p_attempt;
  RETURN NEXT;
END $$;

UPDATE setting SET value = 250 WHERE name = 'collect_flip' AND value = 500;
