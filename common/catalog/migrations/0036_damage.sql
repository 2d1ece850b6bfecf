-- What is damaged, what that touches, and what a reader must see before it calls a pack verified.

-- Damaged packs that backups still name: which backups, and how many chunks no other pack has. A chunk that a later
-- backup stored again heals the older ones too, since readers take the newest place.
CREATE VIEW backup_damage AS
  SELECT p.no AS pack_no, p.repository, p.object, p.kind, p.bytes, p.state, p.damaged_at, p.damage, b.id AS backup, b.source,
    b.consistent_at, b.deleted_at IS NOT NULL AS deleted
  FROM pack p JOIN backup b ON b.repository = p.repository AND b.packs @> ARRAY[p.no] AND b.deleted_at IS NULL
  WHERE p.damaged_at IS NOT NULL AND p.state <> 'deleted';

CREATE FUNCTION pack_lost_chunks(p_repository int, p_no bigint) RETURNS TABLE (chunks bigint, lost bigint) LANGUAGE sql STABLE
  SET search_path = holdfast, pg_temp AS $$
  SELECT count(*), count(*) FILTER (WHERE NOT EXISTS (SELECT FROM chunk o JOIN pack q ON q.no = o.pack_no
      WHERE o.repository = c.repository AND o.id = c.id AND o.pack_no <> c.pack_no AND q.damaged_at IS NULL AND q.state IN ('live', 'condemned')))
  FROM chunk c WHERE c.repository = p_repository AND c.pack_no = p_no $$;

-- What the catalogue says is in a pack: a reader proves these rows, not the pack's own table.
CREATE FUNCTION pack_chunks(p_job bigint, p_attempt bigint, p_claim uuid, p_no bigint)
  RETURNS TABLE (id bytea, ordinal int, codec smallint, start bigint, stored int, plain int)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = holdfast, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, false);
  s session := fence_session(p_job, p_attempt);
BEGIN
  IF j.kind IS DISTINCT FROM 'verify' THEN
    RAISE EXCEPTION 'a % job proves no pack', j.kind USING ERRCODE = 'HF005', DETAIL = 'job.not_a_reader';
  END IF;
  RETURN QUERY SELECT c.id, c.ordinal, c.codec, c.start, c.stored, c.plain FROM pack p JOIN chunk c ON c.repository = p.repository AND c.pack_no = p.no
    WHERE p.no = p_no AND p.repository = s.repository ORDER BY c.ordinal;
END $$;
-- Those undamaged packs of the backup that a reader has seen whole (p_seen), or that none has.
CREATE FUNCTION pack_unseen(p_job bigint, p_attempt bigint, p_claim uuid, p_backup uuid, p_seen boolean, p_after bigint, p_most int)
  RETURNS TABLE (no bigint, object uuid, pack uuid, kind text, bytes bigint, sha256 bytea)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, false);
  s session := fence_session(p_job, p_attempt);
BEGIN
  IF j.backup IS DISTINCT FROM p_backup OR p_backup IS NULL THEN
    RAISE EXCEPTION 'job % is not about backup %', p_job, p_backup USING ERRCODE = 'HF005', DETAIL = 'job.other_backup';
  END IF;
  RETURN QUERY SELECT p.no, p.object, p.pack, p.kind, p.bytes, p.sha256 FROM pack p JOIN repository r ON r.no = p.repository
    WHERE p.no = ANY ((SELECT b.packs FROM backup b WHERE b.id = p_backup)::bigint[]) AND p.repository = s.repository AND p.no > p_after
      AND p.damaged_at IS NULL AND p.state IN ('live', 'condemned')
      AND (p.verified_at IS NOT NULL AND p.verified_at > coalesce(r.set_back_at, '-infinity')) = p_seen
    ORDER BY p.no LIMIT p_most;
END $$;
GRANT EXECUTE ON FUNCTION pack_chunks, pack_unseen TO holdfast_reader;
GRANT SELECT ON backup_damage TO holdfast_scheduler, holdfast_auditor;
GRANT EXECUTE ON FUNCTION pack_lost_chunks TO holdfast_scheduler;
