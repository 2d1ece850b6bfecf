-- Who made a pack is written down when it is made, and stays when another attempt takes it over, the login moves to another
-- host, or the catalogue is told again: the host, and since when its login was one, or of what is told again the generation
-- of the certificate under which it was signed. What a host made is nobody's to share while its keys say that this login,
-- or this certificate, was revoked, and no attempt takes it over. A login made after the revocation counts again. Keys that
-- do not say when they revoked a host revoke all its logins.
ALTER TABLE pack ADD COLUMN maker_host text, ADD COLUMN maker_since timestamptz, ADD COLUMN maker_generation bigint;
UPDATE pack p SET maker_host = w.host, maker_since = w.enrolled_at FROM job_attempt a JOIN worker w ON w.no = a.worker
  WHERE a.job = p.job AND a.attempt = p.attempt AND p.state <> 'deleted';

ALTER TABLE session DROP COLUMN revoked;
ALTER TABLE session ADD COLUMN revoked text[] NOT NULL DEFAULT '{}',   -- hosts, of each:
  ADD COLUMN revoked_before bigint[] NOT NULL DEFAULT '{}',            -- its certificates below this generation
  ADD COLUMN revoked_at timestamptz[] NOT NULL DEFAULT '{}';           -- its logins from before this instant; NULL: all

DROP FUNCTION session_revoked(bigint, bigint, uuid, text[]);
CREATE FUNCTION session_revoked(p_job bigint, p_attempt bigint, p_claim uuid, p_hosts text[], p_before bigint[], p_at timestamptz[]) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  s session;
BEGIN
  PERFORM need_values(num_nulls(p_hosts, p_before, p_at), 'session_revoked');
  PERFORM fence_job(p_job, p_attempt, p_claim, true);
  s := fence_session(p_job, p_attempt);
  UPDATE session x SET revoked = p_hosts, revoked_before = p_before, revoked_at = p_at
    WHERE x.job = p_job AND x.attempt = p_attempt AND x.repository = s.repository;
END $$;

DROP FUNCTION pack_revoked(pack, text[]);
CREATE FUNCTION pack_revoked(p_pack pack, p_session session) RETURNS boolean LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT EXISTS (SELECT FROM unnest(p_session.revoked, p_session.revoked_before, p_session.revoked_at) AS r(host, before, at)
    WHERE r.host = p_pack.maker_host AND CASE WHEN p_pack.maker_generation IS NOT NULL THEN p_pack.maker_generation < r.before
      ELSE coalesce(p_pack.maker_since <= r.at, true) END) $$;

-- --- what is made ---------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION pack_begin(p_job bigint, p_attempt bigint, p_claim uuid, p_object uuid, p_pack uuid, p_kind text) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, true);
  s session := fence_session(p_job, p_attempt);
  me worker := worker_me();
  number bigint;
BEGIN
  PERFORM need_values(num_nulls(p_object, p_pack, p_kind), 'pack_begin');
  IF NOT s.writes THEN
    RAISE EXCEPTION 'job % reads only', p_job USING ERRCODE = 'HF005', DETAIL = 'job.reads_only';
  END IF;
  INSERT INTO pack(repository, object, pack, kind, domain, job, attempt, maker_host, maker_since)
    VALUES (s.repository, p_object, p_pack, p_kind, (job_domains(j))[1], p_job, p_attempt, me.host, me.enrolled_at)
    ON CONFLICT (repository, object) DO NOTHING RETURNING no INTO number;
  IF number IS NULL THEN -- the first answer was lost, or the name is somebody else's
    SELECT no INTO number FROM pack WHERE repository = s.repository AND object = p_object AND pack = p_pack AND kind = p_kind
      AND job = p_job AND attempt = p_attempt AND state = 'staged';
    IF number IS NULL THEN
      RAISE EXCEPTION 'object % is taken', p_object USING ERRCODE = 'HF003', DETAIL = 'pack.object_taken';
    END IF;
  END IF;
  RETURN number;
END $$;

-- What is packed anew was opened, and named by what it is: it is its repacker's work. Else as before.
CREATE OR REPLACE FUNCTION repack_new(p_job bigint, p_attempt bigint, p_claim uuid, p_object uuid, p_pack uuid, p_like bigint) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  s session := fence_repack(p_job, p_attempt, p_claim);
  me worker := worker_me();
  number bigint;
BEGIN
  PERFORM need_values(num_nulls(p_object, p_pack, p_like), 'repack_new');
  INSERT INTO pack(repository, object, pack, kind, domain, job, attempt, maker_host, maker_since)
    SELECT s.repository, p_object, p_pack, p.kind, p.domain, p_job, p_attempt, me.host, me.enrolled_at
    FROM pack p WHERE p.no = p_like AND p.repository = s.repository
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

-- --- what is shared -------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION pack_adopt(p_job bigint, p_attempt bigint, p_claim uuid) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, true);
  s session := fence_session(p_job, p_attempt);
  taken bigint;
BEGIN
  PERFORM need_read_committed();
  PERFORM pg_advisory_xact_lock_shared(hashtextextended('holdfast.flip', s.repository));
  UPDATE pack p SET attempt = p_attempt WHERE p.job = p_job AND p.repository = s.repository AND p.state = 'staged' AND p.sha256 IS NOT NULL
    AND p.damaged_at IS NULL AND p.attempt < p_attempt AND p.domain = ANY (job_domains(j)) AND NOT pack_revoked(p, s);
  GET DIAGNOSTICS taken = ROW_COUNT;
  UPDATE session SET adopted_at = coalesce(adopted_at, clock_timestamp()) WHERE job = p_job AND attempt = p_attempt AND repository = s.repository;
  RETURN taken;
END $$;

CREATE OR REPLACE FUNCTION chunk_lookup(p_job bigint, p_attempt bigint, p_claim uuid, p_ids bytea[])
  RETURNS TABLE (n bigint, pack_no bigint, object uuid, pack uuid, ordinal int, codec smallint, start bigint, stored int, plain int)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = holdfast, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, false);
  s session := fence_session(p_job, p_attempt);
  domains int[] := job_domains(j);
  since timestamptz;
BEGIN
  SELECT coalesce(r.set_back_at, '-infinity') INTO since FROM repository r WHERE r.no = s.repository;
  RETURN QUERY SELECT DISTINCT ON (q.n) q.n, p.no, p.object, p.pack, c.ordinal, c.codec, c.start, c.stored, c.plain
    FROM unnest(p_ids) WITH ORDINALITY AS q(id, n)
    CROSS JOIN LATERAL (SELECT * FROM chunk x WHERE x.repository = s.repository AND x.id = q.id OFFSET 0) c
    CROSS JOIN LATERAL (SELECT * FROM pack y WHERE y.no = c.pack_no OFFSET 0) p
    WHERE p.damaged_at IS NULL AND p.sha256 IS NOT NULL
      AND ((p.state = 'staged' AND p.job = p_job AND p.attempt = p_attempt)
        OR (p.state = 'live' AND (p.verified_at > since OR (p.begun_at > since AND p.domain = ANY (domains)
          AND (s.revoked = '{}' OR NOT pack_revoked(p, s))))))
    ORDER BY q.n, p.state, p.no;
END $$;

-- --- what is told again ---------------------------------------------------------------------------

-- The packs that became this source's because their index is signed by whoever signed the manifest: that host's.
CREATE FUNCTION rebuild_maker(p_repository int, p_source int, p_backup uuid, p_index uuid, p_signer bytea, p_packs bigint[], p_facts jsonb)
  RETURNS void LANGUAGE sql SET search_path = holdfast, pg_temp AS $$
  UPDATE pack p SET maker_host = p_facts ->> 'host', maker_generation = coalesce((p_facts ->> 'generation')::bigint, 0) FROM rebuilt_index i
    WHERE i.repository = p_repository AND (i.backup = p_backup OR (i.backup IS NULL AND i.object = p_index)) AND i.signer = p_signer
      AND p.no = ANY (i.packs) AND p.domain = p_source AND p.maker_host IS NULL $$;

CREATE OR REPLACE FUNCTION rebuild_backup(p_job bigint, p_attempt bigint, p_claim uuid, p_repository int, p_id uuid, p_manifest_sha256 bytea,
    p_signer bytea, p_index uuid, p_packs bigint[], p_facts jsonb) RETURNS TABLE (answer text, why text)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  repo int := rebuild_fence(p_job, p_attempt, p_claim, p_repository);
  b backup;
  missing bigint := (p_facts ->> 'missing')::bigint;
BEGIN
  SELECT * INTO b FROM backup x WHERE x.id = p_id;
  IF b.id IS NULL OR b.repository = repo OR b.manifest_sha256 IS DISTINCT FROM p_manifest_sha256
     OR EXISTS (SELECT FROM backup_copy c WHERE c.backup = p_id AND c.repository = repo) THEN
    SELECT m.answer, m.why INTO answer, why
      FROM rebuild_backup_made(p_job, p_attempt, p_claim, p_repository, p_id, p_manifest_sha256, p_signer, p_index, p_packs, p_facts) m;
    PERFORM rebuild_maker(repo, x.source, p_id, p_index, p_signer, p_packs, p_facts) FROM backup x
      WHERE x.id = p_id AND answer IN ('imported', 'recovered');
    RETURN NEXT;
    RETURN;
  ELSIF NOT (p_facts ->> 'marked')::boolean THEN
    RETURN QUERY SELECT 'zombie', 'a copy that was never committed';
    RETURN;
  END IF;
  PERFORM rebuild_own(repo, b.source, p_id, p_index, p_signer, p_packs);
  PERFORM rebuild_maker(repo, b.source, p_id, p_index, p_signer, p_packs, p_facts);
  INSERT INTO backup_copy(backup, repository, job, stored_bytes, index_object, packs, marker_at)
    VALUES (p_id, repo, CASE WHEN p_job = 0 THEN b.job ELSE p_job END, b.stored_bytes,
            coalesce((SELECT i.object FROM rebuilt_index i WHERE i.repository = repo AND i.backup = p_id ORDER BY i.object LIMIT 1), -- the manifest names
                     '00000000-0000-0000-0000-000000000000'),                                                                       -- that of the other place
            array(SELECT DISTINCT u FROM unnest(p_packs) u ORDER BY u), clock_timestamp());
  UPDATE backup SET deleted_at = NULL, left_at = coalesce(left_at, deleted_at) WHERE id = p_id AND deleted_at IS NOT NULL;
  INSERT INTO verification(backup, repository, job, level, result, started_at, checks)
    VALUES (p_id, repo, CASE WHEN p_job = 0 THEN b.job ELSE p_job END, 'stored', CASE WHEN missing > 0 THEN 'failed' ELSE 'ok' END, clock_timestamp(),
            jsonb_build_object('imported', true, 'missing', missing));
  RETURN QUERY SELECT 'imported', 'a copy';
END $$;
REVOKE ALL ON FUNCTION session_revoked, pack_revoked, rebuild_maker FROM PUBLIC;
GRANT EXECUTE ON FUNCTION session_revoked TO holdfast_worker;
