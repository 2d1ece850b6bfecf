-- Half-dead packs: what backups still need of them moves into new packs, and the old ones die like all others. A
-- pruner that is a reader too does it, in its run, before it collects: it picks packs whose own backup is gone, walks
-- every backup that names them, opens and seals anew what those need, and swaps the packs of just those backups in one
-- call. A backup that was committed meanwhile, or could not be walked, still names the old pack, which lives on for it.
ALTER TABLE pack
  ADD COLUMN looked_at timestamptz,                                  -- when it was last counted what backups need of it
  ADD COLUMN needed_bytes bigint;
CREATE INDEX backup_gone ON backup(repository, gone_at) WHERE gone_at IS NOT NULL;
INSERT INTO setting VALUES
  ('repack_share', 0.5, 'share: a pack of which more than this is needed by nobody is packed anew'),
  ('repack_bytes', 4294967296, 'bytes of packs that one run of the collector looks into, to pack anew what is needed of them');

-- Index objects of such runs: they belong to no backup, and go with the last of their packs.
CREATE TABLE repack_index (
  repository int NOT NULL REFERENCES repository,
  object     uuid NOT NULL,
  job        bigint NOT NULL,
  attempt    bigint NOT NULL,
  packs      bigint[] NOT NULL,
  at         timestamptz NOT NULL DEFAULT clock_timestamp(),
  gone_at    timestamptz,
  PRIMARY KEY (repository, object),
  FOREIGN KEY (job, attempt) REFERENCES job_attempt);
CREATE INDEX repack_index_there ON repack_index(repository) WHERE gone_at IS NULL;

CREATE FUNCTION fence_repack(p_job bigint, p_attempt bigint, p_claim uuid) RETURNS session LANGUAGE plpgsql
  SET search_path = holdfast, pg_temp AS $$
DECLARE
  me worker := worker_me();
  s session := fence_prune(p_job, p_attempt, p_claim);
BEGIN
  IF NOT me.reader THEN
    RAISE EXCEPTION 'worker % may not read: enroll it with --reader', me.name USING ERRCODE = 'HF005', DETAIL = 'job.not_a_reader';
  END IF;
  PERFORM collect_may(s.repository);
  RETURN s;
END $$;

-- Packs that may be half-dead, the lowest first: as many as the budget takes. p_all: those too of which nothing was
-- let go since they were looked at. Their domains lie together, so that each new pack has one.
CREATE FUNCTION repack_pick(p_job bigint, p_attempt bigint, p_claim uuid, p_all boolean, p_most int)
  RETURNS TABLE (no bigint, object uuid, pack uuid, kind text, bytes bigint, sha256 bytea, domain int, share double precision)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
  s session := fence_repack(p_job, p_attempt, p_claim);
BEGIN
  PERFORM need_values(num_nulls(p_all, p_most), 'repack_pick');
  RETURN QUERY WITH let_go AS MATERIALIZED (
      SELECT u.no, max(b.gone_at) AS at FROM backup b CROSS JOIN LATERAL unnest(b.packs) u(no)
        WHERE b.repository = s.repository AND b.gone_at > (SELECT min(p.looked_at) FROM pack p WHERE p.repository = s.repository AND p.state = 'live')
        GROUP BY u.no),
    used AS MATERIALIZED (SELECT DISTINCT u.no FROM pack_used(s.repository) u),
    candidate AS (SELECT p.*, sum(p.bytes) OVER (ORDER BY p.no) - p.bytes AS before FROM pack p
      WHERE p.repository = s.repository AND p.state = 'live' AND p.damaged_at IS NULL AND p.sha256 IS NOT NULL
        AND p.no IN (SELECT u.no FROM used u)
        AND NOT EXISTS (SELECT FROM backup b WHERE b.job = p.job AND b.deleted_at IS NULL)
        AND (p_all OR p.looked_at IS NULL OR EXISTS (SELECT FROM let_go l WHERE l.no = p.no AND l.at > p.looked_at)))
    SELECT c.no, c.object, c.pack, c.kind, c.bytes, c.sha256, c.domain, setting_of('repack_share')::double precision FROM (
      SELECT * FROM candidate x WHERE x.before < setting_of('repack_bytes') ORDER BY x.no LIMIT p_most) c ORDER BY c.domain, c.kind, c.no;
END $$;

-- Who needs these packs: a row for each of them that a backup names which is not gone, of so many backups. One that is
-- going cannot be read any more, but still names them.
CREATE FUNCTION repack_backups(p_job bigint, p_attempt bigint, p_claim uuid, p_nos bigint[], p_after uuid, p_most int)
  RETURNS TABLE (backup uuid, manifest_sha256 bytea, going boolean, no bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
  s session := fence_repack(p_job, p_attempt, p_claim);
BEGIN
  PERFORM need_values(num_nulls(p_nos, p_after, p_most), 'repack_backups');
  RETURN QUERY SELECT y.id, y.manifest_sha256, y.going, u.no FROM (
      SELECT * FROM (
        SELECT b.id, b.manifest_sha256, b.deleted_at IS NOT NULL AS going, b.packs FROM backup b
          WHERE b.repository = s.repository AND b.gone_at IS NULL AND b.id > p_after AND b.packs && p_nos
        UNION ALL SELECT c.backup, b.manifest_sha256, c.deleted_at IS NOT NULL, c.packs FROM backup_copy c JOIN backup b ON b.id = c.backup
          WHERE c.repository = s.repository AND c.gone_at IS NULL AND c.backup > p_after AND c.packs && p_nos) x
      ORDER BY x.id LIMIT p_most) y CROSS JOIN LATERAL unnest(y.packs) u(no) WHERE u.no = ANY (p_nos) ORDER BY y.id, u.no;
END $$;

CREATE FUNCTION repack_looked(p_job bigint, p_attempt bigint, p_claim uuid, p_nos bigint[], p_needed bigint[]) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  s session := fence_repack(p_job, p_attempt, p_claim);
BEGIN
  PERFORM need_values(num_nulls(p_nos, p_needed), 'repack_looked');
  UPDATE pack p SET looked_at = clock_timestamp(), needed_bytes = x.needed FROM unnest(p_nos, p_needed) AS x(no, needed)
    WHERE p.no = x.no AND p.repository = s.repository;
END $$;

-- A new pack, of the domain and the kind of an old one.
CREATE FUNCTION repack_new(p_job bigint, p_attempt bigint, p_claim uuid, p_object uuid, p_pack uuid, p_like bigint) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  s session := fence_repack(p_job, p_attempt, p_claim);
  number bigint;
BEGIN
  PERFORM need_values(num_nulls(p_object, p_pack, p_like), 'repack_new');
  INSERT INTO pack(repository, object, pack, kind, domain, job, attempt)
    SELECT s.repository, p_object, p_pack, p.kind, p.domain, p_job, p_attempt FROM pack p WHERE p.no = p_like AND p.repository = s.repository
    ON CONFLICT (repository, object) DO NOTHING RETURNING no INTO number;
  IF number IS NULL THEN -- the first answer was lost, or the name is somebody else's
    SELECT no INTO number FROM pack WHERE repository = s.repository AND object = p_object AND pack = p_pack
      AND job = p_job AND attempt = p_attempt AND state = 'staged';
    IF number IS NULL THEN
      RAISE EXCEPTION 'object % is taken', p_object USING ERRCODE = 'HF003', DETAIL = 'pack.object_taken';
    END IF;
  END IF;
  RETURN number;
END $$;

-- The backups that were walked name the new packs instead of the old ones, from this moment on: p_from[i]'s needed
-- chunks lie in p_into[i], among others. An old pack that is no longer live and whole stays named. Answers how many
-- backups there were. May be asked again.
CREATE FUNCTION repack_commit(p_job bigint, p_attempt bigint, p_claim uuid, p_new bigint[], p_old bigint[], p_from bigint[], p_into bigint[],
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
    INSERT INTO repack_index(repository, object, job, attempt, packs) VALUES (s.repository, p_index, p_job, p_attempt, p_new) ON CONFLICT DO NOTHING;
  END IF;
  RETURN swapped + copied;
END $$;
REVOKE ALL ON FUNCTION fence_repack, repack_pick, repack_backups, repack_looked, repack_new, repack_commit FROM PUBLIC;
GRANT EXECUTE ON FUNCTION repack_pick, repack_backups, repack_looked, repack_new, repack_commit TO holdfast_pruner;

-- As before; and the index objects of repacked packs, under their own names.
CREATE OR REPLACE FUNCTION collect_indexes(p_job bigint, p_attempt bigint, p_claim uuid, p_most int) RETURNS TABLE (backup uuid, object uuid)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
BEGIN
  PERFORM collect_may(s.repository);
  RETURN QUERY SELECT * FROM (
      SELECT b.id, b.index_object FROM backup b WHERE b.repository = s.repository AND b.gone_at IS NOT NULL AND b.index_gone_at IS NULL
        AND NOT EXISTS (SELECT FROM pack p WHERE p.no = ANY (b.packs) AND p.job = b.job AND p.state <> 'deleted')
      UNION ALL SELECT i.object, i.object FROM repack_index i WHERE i.repository = s.repository AND i.gone_at IS NULL
        AND NOT EXISTS (SELECT FROM pack p WHERE p.no = ANY (i.packs) AND p.state <> 'deleted')) x LIMIT p_most;
END $$;

CREATE OR REPLACE FUNCTION collect_indexes_gone(p_job bigint, p_attempt bigint, p_claim uuid, p_backups uuid[]) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
BEGIN
  PERFORM need_values(num_nulls(p_backups), 'collect_indexes_gone');
  UPDATE backup SET index_gone_at = clock_timestamp() WHERE id = ANY (p_backups) AND repository = s.repository AND gone_at IS NOT NULL;
  UPDATE repack_index SET gone_at = clock_timestamp() WHERE object = ANY (p_backups) AND repository = s.repository;
END $$;

-- As before, for a repack too; and first the packs that this source's writers may share (its own, and what a reader has
-- seen): what a stolen worker says of the chunks of others is the last to be believed.
CREATE OR REPLACE FUNCTION chunk_find(p_job bigint, p_attempt bigint, p_claim uuid, p_ids bytea[])
  RETURNS TABLE (n bigint, pack_no bigint, object uuid, pack uuid, ordinal int, codec smallint, start bigint, stored int, plain int)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = holdfast, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, false);
  s session := fence_session(p_job, p_attempt);
  domains int[] := coalesce(job_domains(j), '{}');
BEGIN
  IF j.kind NOT IN ('restore', 'verify', 'probe', 'prune') THEN
    RAISE EXCEPTION 'a % job looks up, it does not find', j.kind USING ERRCODE = 'HF005', DETAIL = 'job.not_a_reader';
  END IF;
  RETURN QUERY SELECT DISTINCT ON (q.n) q.n, p.no, p.object, p.pack, c.ordinal, c.codec, c.start, c.stored, c.plain
    FROM unnest(p_ids) WITH ORDINALITY AS q(id, n)
    CROSS JOIN LATERAL (SELECT * FROM chunk x WHERE x.repository = s.repository AND x.id = q.id OFFSET 0) c
    CROSS JOIN LATERAL (SELECT * FROM pack y WHERE y.no = c.pack_no OFFSET 0) p
    WHERE p.damaged_at IS NULL AND p.state IN ('live', 'condemned')
    -- A chunk is stored again only where the older one could not be trusted to be there: the newest is the one to read.
    ORDER BY q.n, p.verified_at IS NULL AND NOT p.domain = ANY (domains), p.no DESC;
END $$;

CREATE OR REPLACE FUNCTION chunk_find_other(p_job bigint, p_attempt bigint, p_claim uuid, p_ids bytea[], p_not uuid)
  RETURNS TABLE (n bigint, pack_no bigint, object uuid, pack uuid, ordinal int, codec smallint, start bigint, stored int, plain int)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = holdfast, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, false);
  s session := fence_session(p_job, p_attempt);
  domains int[] := coalesce(job_domains(j), '{}');
BEGIN
  PERFORM need_values(num_nulls(p_ids, p_not), 'chunk_find_other');
  IF j.kind NOT IN ('restore', 'verify', 'probe', 'prune') THEN
    RAISE EXCEPTION 'a % job looks up, it does not find', j.kind USING ERRCODE = 'HF005', DETAIL = 'job.not_a_reader';
  END IF;
  RETURN QUERY SELECT DISTINCT ON (q.n) q.n, p.no, p.object, p.pack, c.ordinal, c.codec, c.start, c.stored, c.plain
    FROM unnest(p_ids) WITH ORDINALITY AS q(id, n)
    CROSS JOIN LATERAL (SELECT * FROM chunk x WHERE x.repository = s.repository AND x.id = q.id OFFSET 0) c
    CROSS JOIN LATERAL (SELECT * FROM pack y WHERE y.no = c.pack_no OFFSET 0) p
    WHERE p.damaged_at IS NULL AND p.state IN ('live', 'condemned') AND p.object <> p_not
    ORDER BY q.n, p.verified_at IS NULL AND NOT p.domain = ANY (domains), p.no DESC;
END $$;

CREATE OR REPLACE FUNCTION chunk_find_in(p_job bigint, p_attempt bigint, p_claim uuid, p_repository int, p_ids bytea[], p_not uuid)
  RETURNS TABLE (n bigint, pack_no bigint, object uuid, pack uuid, ordinal int, codec smallint, start bigint, stored int, plain int)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = holdfast, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, false);
  domains int[] := coalesce(job_domains(j), '{}');
BEGIN
  PERFORM need_values(num_nulls(p_repository, p_ids), 'chunk_find_in');
  IF j.kind NOT IN ('restore', 'probe')
     OR NOT EXISTS (SELECT FROM session s WHERE s.job = p_job AND s.attempt = p_attempt AND s.repository = p_repository AND s.state = 'open') THEN
    RAISE EXCEPTION 'a % job finds nothing there', j.kind USING ERRCODE = 'HF005', DETAIL = 'job.not_a_reader';
  END IF;
  RETURN QUERY SELECT DISTINCT ON (q.n) q.n, p.no, p.object, p.pack, c.ordinal, c.codec, c.start, c.stored, c.plain
    FROM unnest(p_ids) WITH ORDINALITY AS q(id, n)
    CROSS JOIN LATERAL (SELECT * FROM chunk x WHERE x.repository = p_repository AND x.id = q.id OFFSET 0) c
    CROSS JOIN LATERAL (SELECT * FROM pack y WHERE y.no = c.pack_no OFFSET 0) p
    WHERE p.damaged_at IS NULL AND p.state IN ('live', 'condemned') AND p.object IS DISTINCT FROM p_not
    ORDER BY q.n, p.verified_at IS NULL AND NOT p.domain = ANY (domains), p.no DESC;
END $$;

-- As before, and for a repack.
CREATE OR REPLACE FUNCTION pack_chunks(p_job bigint, p_attempt bigint, p_claim uuid, p_no bigint)
  RETURNS TABLE (id bytea, ordinal int, codec smallint, start bigint, stored int, plain int)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = holdfast, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, false);
  s session := fence_session(p_job, p_attempt);
BEGIN
  IF j.kind IS NULL OR j.kind NOT IN ('verify', 'prune') THEN
    RAISE EXCEPTION 'a % job proves no pack', j.kind USING ERRCODE = 'HF005', DETAIL = 'job.not_a_reader';
  END IF;
  RETURN QUERY SELECT c.id, c.ordinal, c.codec, c.start, c.stored, c.plain FROM pack p JOIN chunk c ON c.repository = p.repository AND c.pack_no = p.no
    WHERE p.no = p_no AND p.repository = s.repository ORDER BY c.ordinal;
END $$;

CREATE OR REPLACE FUNCTION pack_damaged(p_job bigint, p_attempt bigint, p_claim uuid, p_no bigint, p_why text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  me worker := worker_me();
  j job := fence_job(p_job, p_attempt, p_claim, true);
  s session := fence_session(p_job, p_attempt);
BEGIN
  IF j.kind NOT IN ('restore', 'verify', 'prune') THEN
    RAISE EXCEPTION 'a % job cannot call a pack damaged', j.kind USING ERRCODE = 'HF005', DETAIL = 'job.not_a_reader';
  END IF;
  UPDATE pack SET damaged_at = coalesce(damaged_at, clock_timestamp()), damage = left(format('job %s on %s: %s', j.id, me.name, p_why), 1000),
    verified_at = NULL WHERE no = p_no AND repository = s.repository;
  INSERT INTO event(kind, source, job, data) VALUES ('alert', j.source, j.id, jsonb_build_object('code', 'pack.damaged', 'pack', p_no));
END $$;
