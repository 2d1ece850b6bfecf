-- Restores take the best place of a backup, say which they passed over, and turn to the others for what is lost there.

-- A restore, a listing or a plan reads where it is best; a check where it is told to (params.store), else where the
-- backup was made.
CREATE FUNCTION job_takes_place() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  best int;
BEGIN
  SELECT p.repository INTO best FROM backup_places(NEW.backup, NEW.pool) p
    WHERE NEW.params ->> 'store' IS NULL OR p.store = NEW.params ->> 'store'
    ORDER BY CASE WHEN NEW.kind = 'verify' AND p.repository = NEW.repository THEN 0 ELSE 1 END, p.n LIMIT 1;
  IF best IS NULL AND NEW.params ->> 'store' IS NOT NULL THEN
    RAISE EXCEPTION '% is not in store %', backup_text(NEW.backup), NEW.params ->> 'store' USING ERRCODE = 'HF002', DETAIL = 'backup.not_there';
  END IF;
  NEW.repository := coalesce(best, NEW.repository);
  RETURN NEW;
END $$;
CREATE TRIGGER job_takes_place BEFORE INSERT ON job FOR EACH ROW
  WHEN (NEW.backup IS NOT NULL AND NEW.finished_at IS NULL AND NEW.kind IN ('restore', 'verify', 'probe')) EXECUTE FUNCTION job_takes_place();

CREATE OR REPLACE FUNCTION job_order(j job) RETURNS jsonb LANGUAGE plpgsql STABLE SET search_path = holdfast, pg_temp AS $$
BEGIN
  IF j.kind = 'copy' THEN
    RETURN job_order_one(j) || jsonb_build_object('from', repository_order(copy_from(j)));
  ELSIF j.kind IN ('restore', 'probe') AND j.backup IS NOT NULL THEN -- in the order in which they are to be tried
    RETURN job_order_one(j) || jsonb_build_object('places', (SELECT coalesce(jsonb_agg(
        jsonb_build_object('store', p.store, 'fault', p.fault, 'repository', repository_order(p.repository))
        ORDER BY p.repository <> j.repository, p.n), '[]') FROM backup_places(j.backup, j.pool) p));
  END IF;
  RETURN job_order_one(j);
END $$;

CREATE OR REPLACE FUNCTION backup_open(p_job bigint, p_attempt bigint, p_claim uuid, p_backup uuid)
  RETURNS TABLE (repository uuid, repository_no int, manifest_sha256 bytea, index_object uuid, index_sha256 bytea, sequence bigint,
                 entries bigint, bytes bigint, consistent_at timestamptz, source text, source_type text)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, false);
BEGIN
  IF j.backup IS DISTINCT FROM p_backup OR p_backup IS NULL THEN
    RAISE EXCEPTION 'job % is not about backup %', p_job, p_backup USING ERRCODE = 'HF005', DETAIL = 'job.other_backup';
  END IF;
  IF NOT EXISTS (SELECT FROM backup_place p WHERE p.backup = p_backup AND p.repository = j.repository AND p.deleted_at IS NULL)
     AND EXISTS (SELECT FROM backup b WHERE b.id = p_backup) THEN
    RAISE EXCEPTION 'backup % was deleted', p_backup USING ERRCODE = 'HF002', DETAIL = 'backup.deleted';
  END IF;
  RETURN QUERY SELECT r.id, r.no, b.manifest_sha256, p.index_object, b.index_sha256, b.sequence, b.entries, b.bytes, b.consistent_at,
      src.name, src.type
    FROM backup b JOIN backup_place p ON p.backup = b.id AND p.repository = j.repository JOIN repository r ON r.no = p.repository
      JOIN source src ON src.no = b.source WHERE b.id = p_backup;
END $$;

-- Another place of the backup that this job reads: kept from the collector until the attempt ends.
CREATE FUNCTION place_open(p_job bigint, p_attempt bigint, p_claim uuid, p_repository int) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, true);
BEGIN
  PERFORM need_values(num_nulls(p_repository), 'place_open');
  IF j.kind NOT IN ('restore', 'probe')
     OR NOT EXISTS (SELECT FROM backup_place p WHERE p.backup = j.backup AND p.repository = p_repository AND p.deleted_at IS NULL) THEN
    RAISE EXCEPTION 'job % reads nothing there', p_job USING ERRCODE = 'HF005', DETAIL = 'job.not_a_reader';
  END IF;
  INSERT INTO session(job, attempt, repository, writes, base_epoch)
    SELECT p_job, p_attempt, r.no, false, r.gc_epoch FROM repository r WHERE r.no = p_repository ON CONFLICT DO NOTHING;
END $$;

-- Wherever a chunk is in a repository that the attempt opened so; not in an object that did not hold it (NULL: any).
CREATE FUNCTION chunk_find_in(p_job bigint, p_attempt bigint, p_claim uuid, p_repository int, p_ids bytea[], p_not uuid)
  RETURNS TABLE (n bigint, pack_no bigint, object uuid, pack uuid, ordinal int, codec smallint, start bigint, stored int, plain int)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = holdfast, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, false);
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
    ORDER BY q.n, p.no DESC;
END $$;

-- The packs of the backup where this job looks.
CREATE OR REPLACE FUNCTION pack_of_backup(p_job bigint, p_attempt bigint, p_claim uuid, p_backup uuid, p_after bigint, p_most int)
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
    WHERE p.no = ANY ((SELECT x.packs FROM backup_place x WHERE x.backup = p_backup AND x.repository = j.repository)::bigint[]) AND p.no > p_after
    ORDER BY p.no LIMIT p_most;
END $$;

CREATE OR REPLACE FUNCTION pack_unseen(p_job bigint, p_attempt bigint, p_claim uuid, p_backup uuid, p_seen boolean, p_after bigint, p_most int)
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
    WHERE p.no = ANY ((SELECT x.packs FROM backup_place x WHERE x.backup = p_backup AND x.repository = s.repository)::bigint[])
      AND p.repository = s.repository AND p.no > p_after
      AND p.damaged_at IS NULL AND p.state IN ('live', 'condemned')
      AND (p.verified_at IS NOT NULL AND p.verified_at > coalesce(r.set_back_at, '-infinity')) = p_seen
    ORDER BY p.no LIMIT p_most;
END $$;
GRANT EXECUTE ON FUNCTION place_open, chunk_find_in TO holdfast_worker;
