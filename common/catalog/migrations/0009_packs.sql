-- Packs and chunks of a session. A chunk is shared only after a reader has seen it.

CREATE FUNCTION repository_bind(p_job bigint, p_attempt bigint, p_claim uuid, p_id uuid)
  RETURNS TABLE (gc_epoch bigint, confirmed_epoch bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, true);
  s session := fence_session(p_job, p_attempt);
  r repository;
BEGIN
  PERFORM need_values(num_nulls(p_id), 'repository_bind');
  UPDATE repository SET id = p_id WHERE no = s.repository AND id IS NULL;
  SELECT * INTO r FROM repository WHERE no = s.repository;
  IF r.id IS DISTINCT FROM p_id THEN
    RAISE EXCEPTION 'store % holds repository %, the catalogue knows % there: is another disk mounted?', r.store, p_id, r.id
      USING ERRCODE = 'HF003', DETAIL = 'repo.other_id';
  END IF;
  RETURN QUERY SELECT r.gc_epoch, r.confirmed_epoch;
END $$;

-- The dedup domains whose live packs this job may use unverified; new packs get the first.
CREATE FUNCTION job_domains(j job) RETURNS int[] LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT CASE WHEN s.spec ->> 'dedup' = 'repository' THEN ARRAY[0, s.no] ELSE ARRAY[s.no] END FROM source s WHERE s.no = j.source $$;

CREATE FUNCTION pack_begin(p_job bigint, p_attempt bigint, p_claim uuid, p_object uuid, p_pack uuid, p_kind text) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, true);
  s session := fence_session(p_job, p_attempt);
  number bigint;
BEGIN
  PERFORM need_values(num_nulls(p_object, p_pack, p_kind), 'pack_begin');
  IF NOT s.writes THEN
    RAISE EXCEPTION 'job % reads only', p_job USING ERRCODE = 'HF005', DETAIL = 'job.reads_only';
  END IF;
  INSERT INTO pack(repository, object, pack, kind, domain, job, attempt)
    VALUES (s.repository, p_object, p_pack, p_kind, (job_domains(j))[1], p_job, p_attempt)
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

CREATE FUNCTION pack_stage(p_job bigint, p_attempt bigint, p_claim uuid, p_no bigint, p_object uuid, p_bytes bigint, p_sha256 bytea,
    p_ids bytea[], p_ordinals int[], p_codecs int[], p_starts bigint[], p_stored int[], p_plain int[]) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, true);
  p pack;
BEGIN
  PERFORM need_values(num_nulls(p_no, p_object, p_bytes, p_sha256, p_ids), 'pack_stage');
  SELECT * INTO p FROM pack WHERE no = p_no AND object = p_object FOR UPDATE;
  IF p.no IS NULL OR p.job IS DISTINCT FROM p_job OR p.attempt IS DISTINCT FROM p_attempt OR p.state IS DISTINCT FROM 'staged' THEN
    RAISE EXCEPTION 'pack % is not this attempt''s to stage', p_no USING ERRCODE = 'HF003', DETAIL = 'pack.not_ours';
  END IF;
  IF p.sha256 IS NOT NULL THEN
    IF p.sha256 IS DISTINCT FROM p_sha256 OR p.bytes IS DISTINCT FROM p_bytes THEN
      RAISE EXCEPTION 'pack % was staged with other bytes', p_no USING ERRCODE = 'HF003', DETAIL = 'pack.restaged';
    END IF;
    RETURN; -- the first answer was lost
  END IF;
  UPDATE pack SET bytes = p_bytes, sha256 = p_sha256 WHERE no = p_no;
  INSERT INTO chunk(repository, id, pack_no, ordinal, codec, start, stored, plain)
    SELECT p.repository, x.id, p_no, x.ordinal, x.codec, x.start, x.stored, x.plain
    FROM unnest(p_ids, p_ordinals, p_codecs, p_starts, p_stored, p_plain) AS x(id, ordinal, codec, start, stored, plain)
    ON CONFLICT DO NOTHING;
END $$;

-- One index probe an id, in its own partition, then one a pack: LATERAL with OFFSET 0 fixes that
-- order, because on a table that nobody analysed yet the planner reads all packs for each id.
-- Compiling such a plan (jit) costs ten times what running it does.
CREATE FUNCTION chunk_lookup(p_job bigint, p_attempt bigint, p_claim uuid, p_ids bytea[])
  RETURNS TABLE (n bigint, pack_no bigint, object uuid, pack uuid, ordinal int, codec smallint, start bigint, stored int, plain int)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = holdfast, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, false);
  s session := fence_session(p_job, p_attempt);
  domains int[] := job_domains(j);
BEGIN
  IF (SELECT rolled_back FROM repository WHERE no = s.repository) THEN
    domains := '{}'; -- the catalogue does not know what is there: only own packs
  END IF;
  RETURN QUERY SELECT DISTINCT ON (q.n) q.n, p.no, p.object, p.pack, c.ordinal, c.codec, c.start, c.stored, c.plain
    FROM unnest(p_ids) WITH ORDINALITY AS q(id, n)
    CROSS JOIN LATERAL (SELECT * FROM chunk x WHERE x.repository = s.repository AND x.id = q.id OFFSET 0) c
    CROSS JOIN LATERAL (SELECT * FROM pack y WHERE y.no = c.pack_no OFFSET 0) p
    WHERE p.damaged_at IS NULL AND p.sha256 IS NOT NULL
      AND ((p.state = 'staged' AND p.job = p_job AND p.attempt = p_attempt)
        OR (p.state = 'live' AND (p.domain = ANY (domains) OR (p.verified_at IS NOT NULL AND cardinality(domains) > 0))))
    ORDER BY q.n, p.state, p.no;
END $$;

-- For readers: wherever the chunk still is.
CREATE FUNCTION chunk_find(p_job bigint, p_attempt bigint, p_claim uuid, p_ids bytea[])
  RETURNS TABLE (n bigint, pack_no bigint, object uuid, pack uuid, ordinal int, codec smallint, start bigint, stored int, plain int)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = holdfast, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, false);
  s session := fence_session(p_job, p_attempt);
BEGIN
  IF j.kind NOT IN ('restore', 'verify', 'probe') THEN
    RAISE EXCEPTION 'a % job looks up, it does not find', j.kind USING ERRCODE = 'HF005', DETAIL = 'job.not_a_reader';
  END IF;
  RETURN QUERY SELECT DISTINCT ON (q.n) q.n, p.no, p.object, p.pack, c.ordinal, c.codec, c.start, c.stored, c.plain
    FROM unnest(p_ids) WITH ORDINALITY AS q(id, n)
    CROSS JOIN LATERAL (SELECT * FROM chunk x WHERE x.repository = s.repository AND x.id = q.id OFFSET 0) c
    CROSS JOIN LATERAL (SELECT * FROM pack y WHERE y.no = c.pack_no OFFSET 0) p
    WHERE p.damaged_at IS NULL AND p.state IN ('live', 'condemned')
    -- A chunk is stored again only where the older one could not be trusted to be there: the newest is the one to read.
    ORDER BY q.n, p.no DESC;
END $$;

-- What dead attempts of this job stored whole becomes this attempt's. Nothing else is inherited.
CREATE FUNCTION pack_adopt(p_job bigint, p_attempt bigint, p_claim uuid) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, true);
  s session := fence_session(p_job, p_attempt);
  taken bigint;
BEGIN
  PERFORM need_read_committed();
  PERFORM pg_advisory_xact_lock_shared(hashtextextended('holdfast.flip', s.repository));
  UPDATE pack SET attempt = p_attempt WHERE job = p_job AND repository = s.repository AND state = 'staged' AND sha256 IS NOT NULL
    AND damaged_at IS NULL AND attempt < p_attempt AND domain = ANY (job_domains(j));
  GET DIAGNOSTICS taken = ROW_COUNT;
  UPDATE session SET adopted_at = coalesce(adopted_at, clock_timestamp()) WHERE job = p_job AND attempt = p_attempt AND repository = s.repository;
  RETURN taken;
END $$;

-- The attempt's staged packs with their chunks, some packs at a time, ascending.
CREATE FUNCTION pack_staged(p_job bigint, p_attempt bigint, p_claim uuid, p_after bigint, p_most int)
  RETURNS TABLE (no bigint, object uuid, pack uuid, kind text, bytes bigint, sha256 bytea,
                 id bytea, ordinal int, codec smallint, start bigint, stored int, plain int)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = holdfast, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, false);
BEGIN
  RETURN QUERY SELECT p.no, p.object, p.pack, p.kind, p.bytes, p.sha256, c.id, c.ordinal, c.codec, c.start, c.stored, c.plain
    FROM (SELECT * FROM pack x WHERE x.job = p_job AND x.attempt = p_attempt AND x.state = 'staged' AND x.sha256 IS NOT NULL
            AND x.no > p_after ORDER BY x.no LIMIT p_most) p
    LEFT JOIN LATERAL (SELECT * FROM chunk y WHERE y.pack_no = p.no OFFSET 0) c ON true
    ORDER BY p.no, c.ordinal;
END $$;

-- The packs of the backup this job is about.
CREATE FUNCTION pack_of_backup(p_job bigint, p_attempt bigint, p_claim uuid, p_backup uuid, p_after bigint, p_most int)
  RETURNS TABLE (no bigint, object uuid, pack uuid, kind text, bytes bigint, sha256 bytea)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, false);
BEGIN
  IF j.backup IS DISTINCT FROM p_backup OR p_backup IS NULL THEN
    RAISE EXCEPTION 'job % is not about backup %', p_job, p_backup USING ERRCODE = 'HF005', DETAIL = 'job.other_backup';
  END IF;
  RETURN QUERY SELECT p.no, p.object, p.pack, p.kind, p.bytes, p.sha256 FROM pack p
    WHERE p.no = ANY ((SELECT b.packs FROM backup b WHERE b.id = p_backup)::bigint[]) AND p.no > p_after
    ORDER BY p.no LIMIT p_most;
END $$;

CREATE FUNCTION pack_verified(p_job bigint, p_attempt bigint, p_claim uuid, p_nos bigint[], p_sha256s bytea[]) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  me worker := worker_me();
  j job := fence_job(p_job, p_attempt, p_claim, true);
  s session := fence_session(p_job, p_attempt);
  changed bigint;
BEGIN
  IF NOT me.reader OR j.kind IS DISTINCT FROM 'verify' OR j.params ->> 'level' IS NOT DISTINCT FROM 'stored' THEN
    RAISE EXCEPTION 'only a content check by an enrolled reader can call a pack verified' USING ERRCODE = 'HF005', DETAIL = 'job.not_a_reader';
  END IF;
  UPDATE pack p SET verified_at = clock_timestamp() FROM unnest(p_nos, p_sha256s) AS x(no, sha256)
    WHERE p.no = x.no AND p.sha256 IS NOT DISTINCT FROM x.sha256 AND p.repository = s.repository
      AND p.state IN ('live', 'condemned') AND p.damaged_at IS NULL;
  GET DIAGNOSTICS changed = ROW_COUNT;
  RETURN changed;
END $$;

CREATE FUNCTION pack_damaged(p_job bigint, p_attempt bigint, p_claim uuid, p_no bigint, p_why text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  me worker := worker_me();
  j job := fence_job(p_job, p_attempt, p_claim, true);
  s session := fence_session(p_job, p_attempt);
BEGIN
  IF j.kind NOT IN ('restore', 'verify') THEN
    RAISE EXCEPTION 'a % job cannot call a pack damaged', j.kind USING ERRCODE = 'HF005', DETAIL = 'job.not_a_reader';
  END IF;
  UPDATE pack SET damaged_at = coalesce(damaged_at, clock_timestamp()), damage = left(format('job %s on %s: %s', j.id, me.name, p_why), 1000),
    verified_at = NULL WHERE no = p_no AND repository = s.repository;
  INSERT INTO event(kind, source, job, data) VALUES ('alert', j.source, j.id, jsonb_build_object('code', 'pack.damaged', 'pack', p_no));
END $$;
