-- A session that stores very much writes several index objects, each of bounded size; its backup names the last one.
-- Every one is announced before it is written, as packs are, with the packs that it names: so the collector removes all of
-- them, those of an attempt that died too, and a scan for orphans knows them without asking the store. What repacks
-- wrote was in such a table; backups and copies join it.
ALTER TABLE repack_index RENAME TO written_index;
ALTER TABLE written_index RENAME CONSTRAINT repack_index_pkey TO written_index_pkey;
ALTER INDEX repack_index_there RENAME TO written_index_there;
ALTER TABLE written_index
  ALTER COLUMN job DROP NOT NULL,                                    -- NULL: read from the store by a rebuild
  ALTER COLUMN attempt DROP NOT NULL,
  ADD COLUMN backup uuid;                                            -- whose session wrote it, committed or not; NULL: nobody's
INSERT INTO written_index(repository, object, backup, packs) SELECT i.repository, i.object, i.backup, i.packs FROM rebuilt_index i
  ON CONFLICT DO NOTHING;

-- Before an index object is written. The packs are this attempt's, so nobody names what another session wrote.
CREATE FUNCTION index_begin(p_job bigint, p_attempt bigint, p_claim uuid, p_object uuid, p_backup uuid, p_packs bigint[]) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, true);
  s session := fence_session(p_job, p_attempt);
BEGIN
  PERFORM need_values(num_nulls(p_object, p_packs), 'index_begin');
  IF cardinality(p_packs) = 0 OR EXISTS (SELECT FROM unnest(p_packs) u(no) LEFT JOIN pack p ON p.no = u.no AND p.repository = s.repository
      WHERE (p.job, p.attempt) IS DISTINCT FROM (p_job, p_attempt)) THEN
    RAISE EXCEPTION 'an index of packs that attempt % of job % did not stage', p_attempt, p_job USING ERRCODE = 'HF003', DETAIL = 'index.not_ours';
  END IF;
  INSERT INTO written_index(repository, object, job, attempt, backup, packs)
    SELECT s.repository, p_object, p_job, p_attempt, p_backup, p_packs
    WHERE NOT EXISTS (SELECT FROM backup b WHERE b.repository = s.repository AND b.index_object = p_object)
      AND NOT EXISTS (SELECT FROM backup_copy c WHERE c.repository = s.repository AND c.index_object = p_object)
    ON CONFLICT DO NOTHING;
  IF NOT FOUND AND NOT EXISTS (SELECT FROM written_index i WHERE i.repository = s.repository AND i.object = p_object
      AND i.job = p_job AND i.attempt = p_attempt AND i.gone_at IS NULL) THEN -- not even by a call whose answer was lost
    RAISE EXCEPTION 'index object % is taken', p_object USING ERRCODE = 'HF003', DETAIL = 'index.object_taken';
  END IF;
END $$;
REVOKE ALL ON FUNCTION index_begin FROM PUBLIC;
GRANT EXECUTE ON FUNCTION index_begin TO holdfast_worker;

-- As before; and every other index object the packs of which are all gone, once its backup is gone from there (or there
-- never was one). What a backup names itself goes with it, under its id.
CREATE OR REPLACE FUNCTION collect_indexes(p_job bigint, p_attempt bigint, p_claim uuid, p_most int) RETURNS TABLE (backup uuid, object uuid)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
  reencrypts boolean;
BEGIN
  PERFORM collect_may(s.repository);
  SELECT coalesce(j.params ->> 'reencrypt' = 'true', false) INTO reencrypts FROM job j WHERE j.id = p_job;
  RETURN QUERY SELECT x.id, x.index_object FROM (
      SELECT b.id, b.index_object, b.packs, b.job FROM backup b WHERE b.repository = s.repository AND b.gone_at IS NOT NULL AND b.index_gone_at IS NULL
      UNION ALL SELECT c.backup, c.index_object, c.packs, c.job FROM backup_copy c
        WHERE c.repository = s.repository AND c.gone_at IS NOT NULL AND c.index_gone_at IS NULL) x
    WHERE NOT EXISTS (SELECT FROM pack p WHERE p.no = ANY (x.packs) AND p.job = x.job AND p.state <> 'deleted')
    UNION ALL SELECT i.object, i.object FROM written_index i WHERE i.repository = s.repository AND i.gone_at IS NULL
      AND (reencrypts OR NOT EXISTS (SELECT FROM backup_place b WHERE b.repository = i.repository AND b.backup = i.backup AND b.gone_at IS NULL))
      AND NOT EXISTS (SELECT FROM backup b WHERE b.repository = i.repository AND b.index_object = i.object)
      AND NOT EXISTS (SELECT FROM backup_copy c WHERE c.repository = i.repository AND c.index_object = i.object)
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
  UPDATE written_index SET gone_at = clock_timestamp() WHERE repository = s.repository AND object = ANY (array(
    SELECT u FROM unnest(p_backups) u UNION SELECT b.index_object FROM backup b WHERE b.id = ANY (p_backups) AND b.repository = s.repository
    UNION SELECT c.index_object FROM backup_copy c WHERE c.backup = ANY (p_backups) AND c.repository = s.repository));
END $$;

-- As before, with the table's new name.
CREATE OR REPLACE FUNCTION repack_commit(p_job bigint, p_attempt bigint, p_claim uuid, p_new bigint[], p_old bigint[], p_from bigint[], p_into bigint[],
    p_backups uuid[], p_index uuid) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  s session;
  olds bigint[];
  swapped bigint;
  copied bigint;
BEGIN
  PERFORM need_read_committed();
  PERFORM need_values(num_nulls(p_new, p_old, p_from, p_into, p_backups), 'repack_commit');
  s := fence_repack(p_job, p_attempt, p_claim);
  PERFORM FROM repository r WHERE r.no = s.repository FOR SHARE;
  PERFORM pg_advisory_xact_lock_shared(hashtextextended('holdfast.flip', s.repository));
  PERFORM FROM pack p WHERE p.no = ANY (p_new || p_old) ORDER BY p.no FOR NO KEY UPDATE;
  IF EXISTS (SELECT FROM unnest(p_new) n(no) LEFT JOIN pack p ON p.no = n.no AND p.repository = s.repository WHERE p.no IS NULL
      OR p.sha256 IS NULL OR p.damaged_at IS NOT NULL OR p.state NOT IN ('staged', 'live') OR (p.job, p.attempt) IS DISTINCT FROM (p_job, p_attempt))
     OR EXISTS (SELECT FROM unnest(p_into) n(no) WHERE NOT n.no = ANY (p_new)) THEN
    RAISE EXCEPTION 'a new pack is not this attempt''s, or not whole' USING ERRCODE = 'HF003', DETAIL = 'repack.not_ours';
  END IF;
  SELECT coalesce(array_agg(p.no), '{}') INTO olds FROM pack p WHERE p.no = ANY (p_old) AND p.repository = s.repository AND p.state = 'live'
    AND p.damaged_at IS NULL;
  UPDATE pack SET state = 'live', verified_at = clock_timestamp(), looked_at = clock_timestamp(), needed_bytes = bytes
    WHERE no = ANY (p_new) AND state = 'staged';
  PERFORM FROM backup b WHERE b.id = ANY (p_backups) ORDER BY b.id FOR NO KEY UPDATE;
  UPDATE backup b SET xact = pg_current_xact_id(), packs = array(
      SELECT u FROM unnest(b.packs) u WHERE NOT u = ANY (olds)
      UNION SELECT x.into_no FROM unnest(p_from, p_into) AS x(from_no, into_no) WHERE x.from_no = ANY (olds) AND x.from_no = ANY (b.packs) ORDER BY 1)
    WHERE b.id = ANY (p_backups) AND b.repository = s.repository AND b.deleted_at IS NULL AND b.packs && olds;
  GET DIAGNOSTICS swapped = ROW_COUNT;
  UPDATE backup_copy c SET xact = pg_current_xact_id(), packs = array(
      SELECT u FROM unnest(c.packs) u WHERE NOT u = ANY (olds)
      UNION SELECT x.into_no FROM unnest(p_from, p_into) AS x(from_no, into_no) WHERE x.from_no = ANY (olds) AND x.from_no = ANY (c.packs) ORDER BY 1)
    WHERE c.backup = ANY (p_backups) AND c.repository = s.repository AND c.deleted_at IS NULL AND c.packs && olds;
  GET DIAGNOSTICS copied = ROW_COUNT;
  IF p_index IS NOT NULL THEN
    INSERT INTO written_index(repository, object, job, attempt, packs) VALUES (s.repository, p_index, p_job, p_attempt, p_new) ON CONFLICT DO NOTHING;
  END IF;
  RETURN swapped + copied;
END $$;

-- As before. An index object that no row knows is of an older release: the packs in its head are asked for then.
CREATE OR REPLACE FUNCTION orphan_judge(p_repository int, p_names text[]) RETURNS TABLE (n bigint, kind text, why text)
  LANGUAGE sql STABLE SET search_path = holdfast, pg_temp SET jit = off AS $$
  SELECT z.n, z.kind, z.why FROM (SELECT x.n, k.kind, CASE k.kind
      WHEN 'foreign' THEN 'foreign'
      WHEN 'pack' THEN coalesce((SELECT CASE WHEN p.state = 'deleted' AND p.again_at IS NULL THEN 'left_over' ELSE '' END
        FROM pack p WHERE p.repository = p_repository AND p.object = k.id), 'unknown')
      WHEN 'index' THEN CASE
        WHEN EXISTS (SELECT FROM backup b WHERE b.repository = p_repository AND b.index_object = k.id AND b.index_gone_at IS NULL)
          OR EXISTS (SELECT FROM backup_copy c WHERE c.repository = p_repository AND c.index_object = k.id AND c.index_gone_at IS NULL)
          OR EXISTS (SELECT FROM written_index i WHERE i.repository = p_repository AND i.object = k.id AND i.gone_at IS NULL) THEN ''
        ELSE 'unknown' END
      ELSE coalesce((SELECT CASE WHEN bool_or(p.gone_at IS NULL) THEN '' ELSE 'left_over' END
        FROM backup_place p WHERE p.repository = p_repository AND p.backup = k.id HAVING count(*) > 0), 'unknown') END AS why
    FROM unnest(p_names) WITH ORDINALITY AS x(name, n) CROSS JOIN LATERAL orphan_named(x.name) k) z
  WHERE z.why <> '' $$;

-- As before; what the store shows is written down as its session did.
CREATE OR REPLACE FUNCTION rebuild_packs(p_job bigint, p_attempt bigint, p_claim uuid, p_repository int, p_index uuid, p_index_sha256 bytea,
    p_backup uuid, p_signer bytea, p_objects uuid[], p_packs uuid[], p_kinds text[], p_bytes bigint[], p_sha256s bytea[],
    p_of int[], p_ids bytea[], p_ordinals int[], p_codecs int[], p_starts bigint[], p_stored int[], p_plain int[])
  RETURNS TABLE (packs bigint, chunks bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  repo int := rebuild_fence(p_job, p_attempt, p_claim, p_repository);
  nos bigint[];
  fresh bigint[];
BEGIN
  PERFORM need_values(num_nulls(p_objects, p_packs, p_kinds, p_bytes, p_sha256s, p_ids), 'rebuild_packs');
  WITH new AS (INSERT INTO pack(repository, object, pack, kind, domain, job, attempt, state, bytes, sha256)
      SELECT repo, x.object, x.pack, x.kind, -1, p_job, p_attempt, 'live', x.bytes, x.sha256
      FROM unnest(p_objects, p_packs, p_kinds, p_bytes, p_sha256s) AS x(object, pack, kind, bytes, sha256)
      ON CONFLICT (repository, object) DO NOTHING RETURNING no)
    SELECT array_agg(no) INTO fresh FROM new;
  SELECT array_agg(p.no ORDER BY x.n) INTO nos FROM unnest(p_objects) WITH ORDINALITY AS x(object, n)
    JOIN pack p ON p.repository = repo AND p.object = x.object;
  INSERT INTO chunk(repository, id, pack_no, ordinal, codec, start, stored, plain)
    SELECT repo, x.id, nos[x.of], x.ordinal, x.codec, x.start, x.stored, x.plain
    FROM unnest(p_of, p_ids, p_ordinals, p_codecs, p_starts, p_stored, p_plain) AS x(of, id, ordinal, codec, start, stored, plain)
    WHERE nos[x.of] = ANY (fresh)
    ON CONFLICT DO NOTHING;
  GET DIAGNOSTICS chunks = ROW_COUNT;
  packs := coalesce(cardinality(fresh), 0);
  IF p_index IS NOT NULL THEN
    INSERT INTO rebuilt_index(repository, object, sha256, backup, signer, packs)
      VALUES (repo, p_index, p_index_sha256, p_backup, p_signer, coalesce(nos, '{}')) ON CONFLICT DO NOTHING;
    INSERT INTO written_index(repository, object, backup, packs) VALUES (repo, p_index, p_backup, coalesce(nos, '{}'))
      ON CONFLICT ON CONSTRAINT written_index_pkey DO UPDATE SET gone_at = NULL;
    -- One that did not open when its backup came back, and was put back since.
    UPDATE backup SET index_sha256 = p_index_sha256 WHERE repository = repo AND index_object = p_index AND origin <> 'commit'
      AND index_sha256 = decode(repeat('00', 32), 'hex');
  END IF;
  RETURN NEXT;
END $$;
