-- Packs that are sealed to a reader who was retired are packed anew, all of them, by a pruner that reads: the answer to
-- a stolen reader key. Each step swaps some packs, as a repack does, and what is done stays done: a pack is known to be
-- sealed to no reader but those of a generation of the keys.
ALTER TABLE pack ADD COLUMN sealed_generation bigint;                -- NULL: nobody looked
ALTER TABLE repository
  ADD COLUMN reencrypt_generation bigint,                            -- of the keys that the last such run sealed to
  ADD COLUMN reencrypt_packs bigint,                                 -- that it left under others
  ADD COLUMN reencrypt_bytes bigint,
  ADD COLUMN reencrypt_at timestamptz;
INSERT INTO setting VALUES
  ('reencrypt_step', 1073741824, 'bytes of packs that a re-encryption swaps at once: so much does a killed one do again'),
  ('reencrypt_bytes', 1099511627776, 'bytes of packs that one re-encryption job seals anew; the next one goes on');

-- The next packs that nobody knows to be sealed to this generation alone, the lowest first, as many as a step takes.
CREATE FUNCTION reseal_pick(p_job bigint, p_attempt bigint, p_claim uuid, p_generation bigint, p_after bigint, p_most int)
  RETURNS TABLE (no bigint, object uuid, pack uuid, kind text, bytes bigint, sha256 bytea, domain int, share double precision)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  s session := fence_repack(p_job, p_attempt, p_claim);
BEGIN
  PERFORM need_values(num_nulls(p_generation, p_after, p_most), 'reseal_pick');
  RETURN QUERY WITH candidate AS (SELECT p.* FROM pack p
      WHERE p.repository = s.repository AND p.no > p_after AND p.state = 'live' AND p.damaged_at IS NULL AND p.sha256 IS NOT NULL
        AND (p.sealed_generation IS NULL OR p.sealed_generation < p_generation) ORDER BY p.no LIMIT p_most),
    counted AS (SELECT c.*, sum(c.bytes) OVER (ORDER BY c.no) - c.bytes AS before FROM candidate c)
    SELECT c.no, c.object, c.pack, c.kind, c.bytes, c.sha256, c.domain, 0::double precision FROM counted c
      WHERE c.before < setting_of('reencrypt_step') ORDER BY c.domain, c.kind, c.no;
END $$;

-- A reader looked at their headers, or wrote them.
CREATE FUNCTION reseal_seen(p_job bigint, p_attempt bigint, p_claim uuid, p_generation bigint, p_nos bigint[]) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  s session := fence_repack(p_job, p_attempt, p_claim);
BEGIN
  PERFORM need_values(num_nulls(p_generation, p_nos), 'reseal_seen');
  UPDATE pack SET sealed_generation = p_generation WHERE no = ANY (p_nos) AND repository = s.repository
    AND (sealed_generation IS NULL OR sealed_generation < p_generation);
END $$;

-- What is left, written down for everybody to see; and how much one job does.
CREATE FUNCTION reseal_left(p_job bigint, p_attempt bigint, p_claim uuid, p_generation bigint)
  RETURNS TABLE (packs bigint, bytes bigint, job_bytes bigint) LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  s session := fence_repack(p_job, p_attempt, p_claim);
  left_packs bigint;
  left_bytes bigint;
BEGIN
  PERFORM need_values(num_nulls(p_generation), 'reseal_left');
  SELECT count(*), coalesce(sum(p.bytes), 0)::bigint INTO left_packs, left_bytes FROM pack p
    WHERE p.repository = s.repository AND p.state IN ('live', 'condemned', 'deleting') AND p.sha256 IS NOT NULL
      AND (p.sealed_generation IS NULL OR p.sealed_generation < p_generation);
  UPDATE repository SET reencrypt_generation = p_generation, reencrypt_packs = left_packs, reencrypt_bytes = left_bytes,
    reencrypt_at = clock_timestamp() WHERE no = s.repository;
  RETURN QUERY SELECT left_packs, left_bytes, setting_of('reencrypt_bytes')::bigint;
END $$;
REVOKE ALL ON FUNCTION reseal_pick, reseal_seen, reseal_left FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reseal_pick, reseal_seen, reseal_left TO holdfast_pruner;

-- As before; and after a re-encryption the index objects of backups that live on, when the last pack of their session is
-- gone: they are sealed to the reader of before, and say nothing any more.
CREATE OR REPLACE FUNCTION collect_indexes(p_job bigint, p_attempt bigint, p_claim uuid, p_most int) RETURNS TABLE (backup uuid, object uuid)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
  reencrypts boolean;
BEGIN
  PERFORM collect_may(s.repository);
  SELECT j.params ->> 'reencrypt' = 'true' INTO reencrypts FROM job j WHERE j.id = p_job;
  RETURN QUERY SELECT x.id, x.index_object FROM (
      SELECT b.id, b.index_object, b.packs, b.job FROM backup b WHERE b.repository = s.repository AND b.gone_at IS NOT NULL AND b.index_gone_at IS NULL
      UNION ALL SELECT c.backup, c.index_object, c.packs, c.job FROM backup_copy c
        WHERE c.repository = s.repository AND c.gone_at IS NOT NULL AND c.index_gone_at IS NULL) x
    WHERE NOT EXISTS (SELECT FROM pack p WHERE p.no = ANY (x.packs) AND p.job = x.job AND p.state <> 'deleted')
    UNION ALL SELECT i.object, i.object FROM repack_index i WHERE i.repository = s.repository AND i.gone_at IS NULL
      AND NOT EXISTS (SELECT FROM pack p WHERE p.no = ANY (i.packs) AND p.state <> 'deleted')
    UNION ALL SELECT y.id, y.index_object FROM (
      SELECT b.id, b.index_object, b.job FROM backup b WHERE reencrypts AND b.repository = s.repository AND b.gone_at IS NULL AND b.index_gone_at IS NULL
      UNION ALL SELECT c.backup, c.index_object, c.job FROM backup_copy c
        WHERE reencrypts AND c.repository = s.repository AND c.gone_at IS NULL AND c.index_gone_at IS NULL) y
      WHERE y.job NOT IN (SELECT p.job FROM pack p WHERE p.repository = s.repository AND p.state <> 'deleted' AND p.job IS NOT NULL)
    LIMIT p_most;
END $$;

CREATE OR REPLACE FUNCTION collect_indexes_gone(p_job bigint, p_attempt bigint, p_claim uuid, p_backups uuid[]) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
BEGIN
  PERFORM need_values(num_nulls(p_backups), 'collect_indexes_gone');
  UPDATE backup SET index_gone_at = clock_timestamp() WHERE id = ANY (p_backups) AND repository = s.repository;
  UPDATE backup_copy SET index_gone_at = clock_timestamp() WHERE backup = ANY (p_backups) AND repository = s.repository;
  UPDATE repack_index SET gone_at = clock_timestamp() WHERE object = ANY (p_backups) AND repository = s.repository;
END $$;
