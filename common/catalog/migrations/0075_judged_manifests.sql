-- A merge that looked at a manifest without a marker lets a scan for orphans move it only where it is dead for good: it lacks
-- chunks, or the very job that wrote it ended without it. While a backup of its source runs or will be tried again it is not, and
-- where the catalogue lost its tail another job may have got its number, and another backup its place in the sequence.
CREATE TABLE judged_manifest (
  repository int NOT NULL REFERENCES repository,
  backup     uuid NOT NULL,
  at         timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (repository, backup));
ALTER TABLE repository DROP COLUMN merge_begun_at, DROP COLUMN merged_at;

CREATE FUNCTION rebuild_dead_for_good(p_repository int, p_facts jsonb) RETURNS boolean LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT (p_facts ->> 'missing')::bigint > 0 OR EXISTS (SELECT FROM job j JOIN source s ON s.no = j.source
    WHERE j.id = (p_facts ->> 'job')::bigint AND j.kind = 'backup' AND s.name = p_facts ->> 'source' AND j.created_at <= instant_of(p_facts, 'started')
      AND j.state NOT IN ('pending', 'queued', 'running')) $$;

CREATE OR REPLACE FUNCTION orphan_unsaid(o orphan) RETURNS boolean LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT o.kind = 'manifest' AND o.why = 'unknown' AND NOT EXISTS (SELECT FROM orphan_named(o.name) k
      WHERE EXISTS (SELECT FROM session s WHERE s.backup = k.id AND s.repository = o.repository) OR EXISTS (SELECT FROM backup b WHERE b.id = k.id)
        OR EXISTS (SELECT FROM judged_manifest m WHERE m.repository = o.repository AND m.backup = k.id)) $$;

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
    IF answer = 'zombie' AND rebuild_dead_for_good(repo, p_facts) THEN
      INSERT INTO judged_manifest(repository, backup) VALUES (repo, p_id) ON CONFLICT DO NOTHING;
    END IF;
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

CREATE OR REPLACE FUNCTION rebuild_begin(p_job bigint, p_attempt bigint, p_claim uuid, p_store text, p_key_set text, p_config jsonb, p_id uuid,
    p_what text) RETURNS TABLE (repository int, store text, known bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  r repository;
  number int;
BEGIN
  PERFORM need_values(num_nulls(p_job, p_id, p_what), 'rebuild_begin');
  IF p_job = 0 THEN
    PERFORM rebuild_fence(0, 0, NULL, 0);
    SELECT x.no INTO number FROM repository x WHERE x.id = p_id;
    IF number IS NULL THEN
      INSERT INTO store(name, config) VALUES (p_store, p_config) ON CONFLICT (name) DO NOTHING;
      INSERT INTO repository(store, key_set) VALUES (p_store, p_key_set) ON CONFLICT (store, key_set) DO NOTHING;
      SELECT x.no INTO number FROM repository x WHERE x.store = p_store AND x.key_set = p_key_set;
    END IF;
  ELSE
    number := rebuild_fence(p_job, p_attempt, p_claim, 0);
  END IF;
  UPDATE repository x SET id = p_id WHERE x.no = number AND x.id IS NULL;
  SELECT * INTO r FROM repository x WHERE x.no = number;
  IF r.id IS DISTINCT FROM p_id THEN
    RAISE EXCEPTION 'store % holds repository %, the catalogue knows % there: name the store that it really is', r.store, p_id, r.id
      USING ERRCODE = 'HF003', DETAIL = 'repo.other_id';
  END IF;
  PERFORM repository_freeze(r.no, format('catalogue %s: look what came back, then holdfast retention resume', p_what));
  RETURN QUERY SELECT r.no, r.store, (SELECT count(*) FROM backup b WHERE b.repository = r.no);
END $$;

CREATE OR REPLACE FUNCTION rebuild_done(p_job bigint, p_attempt bigint, p_claim uuid, p_repository int, p_epoch bigint, p_what text, p_report jsonb)
  RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  repo int := rebuild_fence(p_job, p_attempt, p_claim, p_repository);
  r repository;
BEGIN
  PERFORM need_values(num_nulls(p_epoch, p_what, p_report), 'rebuild_done');
  UPDATE repository SET confirmed_epoch = p_epoch, rolled_back = false, set_back_at = NULL, set_back_epoch = NULL,
      gc_epoch = CASE WHEN gc_epoch = 0 AND NOT EXISTS (SELECT FROM backup b WHERE b.repository = repo AND b.origin = 'commit') THEN p_epoch
                      WHEN gc_epoch = p_epoch AND NOT rolled_back THEN gc_epoch
                      ELSE greatest(gc_epoch, p_epoch) + 1 END
    WHERE no = repo RETURNING * INTO r;
  INSERT INTO audit_event(actor, actor_kind, via, action, object, result, detail)
    SELECT coalesce((SELECT j.actor FROM job j WHERE j.id = p_job), session_user), CASE WHEN p_job = 0 THEN 'user' ELSE 'worker' END, 'worker',
      'catalogue.' || p_what, r.store || '/' || r.key_set, 'ok', p_report;
  INSERT INTO event(kind, job, data) VALUES ('alert', nullif(p_job, 0),
    jsonb_build_object('code', 'repo.frozen', 'repository', repo, 'text', r.frozen_reason));
  RETURN r.gc_epoch;
END $$;
REVOKE ALL ON FUNCTION rebuild_dead_for_good FROM PUBLIC;
