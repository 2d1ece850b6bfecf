-- Two backups of one source that lie in different stores are compared where each of them lies: chunks have the same
-- names wherever one key set was used. A worker must reach a place of either.
CREATE FUNCTION places_json(p_backup uuid, p_pool int, p_first int) RETURNS jsonb LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT coalesce(jsonb_agg(jsonb_build_object('store', p.store, 'fault', p.fault, 'repository', repository_order(p.repository))
    ORDER BY p.repository <> p_first, p.n), '[]') FROM backup_places(p_backup, p_pool) p $$;

-- The backup that a probe compares its own with, if it does and both are of one source and key set; else NULL.
CREATE FUNCTION job_against(j job) RETURNS uuid LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT a.id FROM backup a JOIN backup b ON b.id = j.backup AND b.source = a.source AND b.key_set = a.key_set
    WHERE j.kind = 'probe' AND a.id::text = lower(j.params ->> 'against') $$;

ALTER FUNCTION job_order(job) RENAME TO job_order_places;
CREATE FUNCTION job_order(j job) RETURNS jsonb LANGUAGE plpgsql STABLE SET search_path = holdfast, pg_temp AS $$
BEGIN
  IF j.kind IS DISTINCT FROM 'probe' OR NOT j.params ? 'against' THEN
    RETURN job_order_places(j);
  END IF;
  RETURN job_order_places(j) || jsonb_build_object('against', places_json(job_against(j), j.pool, j.repository));
END $$;

ALTER FUNCTION job_missing(job, jsonb, boolean) RENAME TO job_missing_places;
CREATE FUNCTION job_missing(j job, facts jsonb, reader boolean) RETURNS text LANGUAGE plpgsql STABLE SET search_path = holdfast, pg_temp AS $$
DECLARE
  rest text := job_missing_places(j, facts, reader);
  lacks text[];
BEGIN
  IF j.kind IS DISTINCT FROM 'probe' OR NOT j.params ? 'against' THEN
    RETURN rest;
  END IF;
  SELECT store_missing(p.store, facts) INTO lacks FROM backup_places(job_against(j), j.pool) p
    ORDER BY cardinality(store_missing(p.store, facts)), p.n LIMIT 1;
  IF coalesce(cardinality(lacks), 0) = 0 THEN
    RETURN rest;
  END IF;
  RETURN left(coalesce(rest || ', ', 'lacks ') || array_to_string(lacks, ', '), 240);
END $$;

CREATE OR REPLACE FUNCTION place_open(p_job bigint, p_attempt bigint, p_claim uuid, p_repository int) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, true);
BEGIN
  PERFORM need_values(num_nulls(p_repository), 'place_open');
  IF NOT job_finds(j) OR j.kind IN ('verify', 'prune')
     OR NOT EXISTS (SELECT FROM backup_place p WHERE p.backup IN (j.backup, job_against(j)) AND p.repository = p_repository AND p.deleted_at IS NULL) THEN
    RAISE EXCEPTION 'job % reads nothing there', p_job USING ERRCODE = 'HF005', DETAIL = 'job.not_a_reader';
  END IF;
  INSERT INTO session(job, attempt, repository, writes, base_epoch)
    SELECT p_job, p_attempt, r.no, false, r.gc_epoch FROM repository r WHERE r.no = p_repository ON CONFLICT DO NOTHING;
END $$;

CREATE OR REPLACE FUNCTION backup_open(p_job bigint, p_attempt bigint, p_claim uuid, p_backup uuid)
  RETURNS TABLE (repository uuid, repository_no int, manifest_sha256 bytea, index_object uuid, index_sha256 bytea, sequence bigint,
                 entries bigint, bytes bigint, consistent_at timestamptz, source text, source_type text)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, false);
  at int := j.repository;
BEGIN
  IF p_backup IS NULL OR NOT coalesce(p_backup IN (j.backup, job_against(j)), false) THEN
    RAISE EXCEPTION 'job % is not about backup %', p_job, p_backup USING ERRCODE = 'HF005', DETAIL = 'job.other_backup';
  END IF;
  IF p_backup <> j.backup THEN -- where this attempt has opened a place of it
    at := coalesce((SELECT p.repository FROM backup_place p JOIN session s ON s.repository = p.repository AND s.job = p_job AND s.attempt = p_attempt
      AND s.state = 'open' WHERE p.backup = p_backup AND p.deleted_at IS NULL ORDER BY p.repository <> j.repository, p.repository LIMIT 1), at);
  END IF;
  IF NOT EXISTS (SELECT FROM backup_place p WHERE p.backup = p_backup AND p.repository = at AND p.deleted_at IS NULL)
     AND EXISTS (SELECT FROM backup b WHERE b.id = p_backup) THEN
    IF EXISTS (SELECT FROM backup_place p WHERE p.backup = p_backup AND p.deleted_at IS NULL) THEN
      RAISE EXCEPTION 'backup % is not in the store that is read, but in another one', p_backup
        USING ERRCODE = 'HF002', DETAIL = 'backup.elsewhere';
    END IF;
    RAISE EXCEPTION 'backup % was deleted', p_backup USING ERRCODE = 'HF002', DETAIL = 'backup.deleted';
  END IF;
  RETURN QUERY SELECT r.id, r.no, b.manifest_sha256, p.index_object, b.index_sha256, b.sequence, b.entries, b.bytes, b.consistent_at,
      src.name, src.type
    FROM backup b JOIN backup_place p ON p.backup = b.id AND p.repository = at JOIN repository r ON r.no = p.repository
      JOIN source src ON src.no = b.source WHERE b.id = p_backup;
END $$;

REVOKE ALL ON FUNCTION places_json, job_against, job_order, job_missing FROM PUBLIC;
GRANT EXECUTE ON FUNCTION places_json, job_against, job_order, job_missing, job_missing_places, job_order_places TO holdfast_scheduler;
