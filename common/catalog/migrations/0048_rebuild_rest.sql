-- What a rebuild also tells: packs that a collector took before, and holds.

-- Packs that an index names and that are not there, when nobody needs them: each backup that came back found all of
-- its chunks elsewhere. A collector took them; they are gone, and no damage. While a backup here lacks chunks, or
-- did not come back, nobody can say that of any of them.
CREATE FUNCTION rebuild_dead(p_job bigint, p_attempt bigint, p_claim uuid, p_repository int) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  repo int := rebuild_fence(p_job, p_attempt, p_claim, p_repository);
  dead bigint[];
BEGIN
  IF EXISTS (SELECT FROM verification v JOIN backup_place b ON b.backup = v.backup AND b.repository = repo AND b.deleted_at IS NULL
             WHERE v.checks ? 'imported' AND (v.checks ->> 'missing')::bigint > 0) THEN
    RETURN 0;
  END IF;
  WITH moved AS (UPDATE pack p SET state = 'deleted', deleted_at = clock_timestamp(), damaged_at = NULL, damage = NULL, condemned_epoch = NULL
    WHERE p.repository = repo AND p.damaged_at IS NOT NULL AND p.state IN ('live', 'condemned') AND p.damage LIKE 'it is not in the store,%'
      AND p.job = p_job AND p.attempt = p_attempt
      AND NOT EXISTS (SELECT FROM backup b WHERE b.repository = repo AND b.packs @> ARRAY[p.no])
      AND NOT EXISTS (SELECT FROM backup_copy c WHERE c.repository = repo AND c.packs @> ARRAY[p.no])
    RETURNING p.no)
  SELECT coalesce(array_agg(no), '{}') INTO dead FROM moved;
  DELETE FROM chunk WHERE pack_no = ANY (dead);
  RETURN cardinality(dead);
END $$;

-- A hold that the store has, signed by the prune role. It only ever lengthens what the catalogue says: whoever
-- released it since says so again. Answers whether it was news.
CREATE FUNCTION rebuild_hold(p_job bigint, p_attempt bigint, p_claim uuid, p_repository int, p_backup uuid, p_until timestamptz, p_reason text)
  RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  repo int := rebuild_fence(p_job, p_attempt, p_claim, p_repository);
BEGIN
  PERFORM need_values(num_nulls(p_backup, p_until, p_reason), 'rebuild_hold');
  UPDATE backup b SET held_until = p_until, held_reason = left(p_reason, 400), hold_stored_at = clock_timestamp()
    WHERE b.id = p_backup AND b.repository = repo AND coalesce(b.held_until, '-infinity') < p_until;
  RETURN FOUND;
END $$;
GRANT EXECUTE ON FUNCTION rebuild_dead, rebuild_hold TO holdfast_reader;
