-- The catalogue told again from a store: after it was lost (rebuild) or after it or the store was put back to an
-- earlier day (merge). One set of functions for both, called by a rebuild job under its fence, or by
-- `holdfast-worker once rebuild` as the administrator, without a job (p_job 0). Every call may be repeated: what
-- is there stays. The repository is frozen from the first call on.
ALTER TABLE backup ADD COLUMN origin text NOT NULL DEFAULT 'commit' CHECK (origin IN ('commit','imported','recovered'));
-- After a catalogue was put back a number may be given twice, and both backups are real.
ALTER TABLE backup DROP CONSTRAINT backup_source_repository_sequence_key;
CREATE UNIQUE INDEX backup_one_a_sequence ON backup(source, repository, sequence) WHERE origin = 'commit';
CREATE INDEX backup_of_sequence ON backup(source, repository, sequence);

-- Index objects that were read, whose session wrote them and who signed: the proof of a pack's domain.
CREATE TABLE rebuilt_index (
  repository int REFERENCES repository,
  object     uuid,
  sha256     bytea NOT NULL CHECK (octet_length(sha256) = 32),
  backup     uuid,                                               -- NULL: written by an older release
  signer     bytea NOT NULL,
  packs      bigint[] NOT NULL,
  PRIMARY KEY (repository, object));
CREATE INDEX rebuilt_index_of_backup ON rebuilt_index(repository, backup);

-- An import makes no news: whoever follows events would take a lost year for a busy minute.
CREATE OR REPLACE FUNCTION jobs_tell() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
BEGIN
  INSERT INTO event(kind, source, job, data)
    SELECT CASE WHEN m.finished_at IS NULL THEN 'job.state' ELSE 'job.finished' END, m.source, m.id,
      jsonb_build_object('state', m.state, 'kind', m.kind, 'attempt', m.attempt)
    FROM made m WHERE NOT m.params ? 'imported' ORDER BY m.id;
  RETURN NULL;
END $$;

-- The repository that the caller may rebuild.
CREATE FUNCTION rebuild_fence(p_job bigint, p_attempt bigint, p_claim uuid, p_repository int) RETURNS int LANGUAGE plpgsql
  SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job;
  s session;
BEGIN
  IF p_job = 0 THEN
    IF NOT pg_has_role(session_user, 'holdfast_owner', 'MEMBER') THEN
      RAISE EXCEPTION 'only the administrator of the catalogue rebuilds without a job, not %', session_user
        USING ERRCODE = 'HF005', DETAIL = 'rebuild.not_admin';
    END IF;
    RETURN p_repository;
  END IF;
  j := fence_job(p_job, p_attempt, p_claim, true);
  IF j.kind IS DISTINCT FROM 'rebuild' THEN
    RAISE EXCEPTION 'a % job rebuilds nothing', j.kind USING ERRCODE = 'HF005', DETAIL = 'job.kind';
  END IF;
  s := fence_session(p_job, p_attempt);
  RETURN s.repository;
END $$;

-- Finds or makes the repository, binds its id and freezes it. Without a job the store may be unknown here.
CREATE FUNCTION rebuild_begin(p_job bigint, p_attempt bigint, p_claim uuid, p_store text, p_key_set text, p_config jsonb, p_id uuid,
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

CREATE FUNCTION rebuild_indexes(p_job bigint, p_attempt bigint, p_claim uuid, p_repository int, p_objects uuid[]) RETURNS SETOF uuid
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  repo int := rebuild_fence(p_job, p_attempt, p_claim, p_repository);
BEGIN
  RETURN QUERY SELECT i.object FROM rebuilt_index i WHERE i.repository = repo AND i.object = ANY (p_objects);
END $$;

-- Packs with their chunks: those of one index object, or one that no index names (p_index NULL). What the
-- catalogue has already stays as it is. The domain of what is new is nobody's until a backup shows it.
CREATE FUNCTION rebuild_packs(p_job bigint, p_attempt bigint, p_claim uuid, p_repository int, p_index uuid, p_index_sha256 bytea,
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
    -- One that did not open when its backup came back, and was put back since.
    UPDATE backup SET index_sha256 = p_index_sha256 WHERE repository = repo AND index_object = p_index AND origin <> 'commit'
      AND index_sha256 = decode(repeat('00', 32), 'hex');
  END IF;
  RETURN NEXT;
END $$;

-- The packs that are known, by object, some at a time; bytes is 0 of those that need not be in the store.
CREATE FUNCTION rebuild_expected(p_job bigint, p_attempt bigint, p_claim uuid, p_repository int, p_after uuid, p_until uuid, p_most int)
  RETURNS TABLE (no bigint, object uuid, pack uuid, kind text, bytes bigint, sha256 bytea)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  repo int := rebuild_fence(p_job, p_attempt, p_claim, p_repository);
BEGIN
  RETURN QUERY SELECT p.no, p.object, p.pack, p.kind, CASE WHEN p.state IN ('live', 'condemned') AND p.damaged_at IS NULL THEN p.bytes ELSE 0 END, p.sha256 FROM pack p
    WHERE p.repository = repo AND p.object > p_after AND p.object <= p_until ORDER BY p.object LIMIT p_most;
END $$;

-- Packs that were looked for, each by name, and are not there, or not in their length. Only what should be there
-- counts: a staged pack may not be written yet, a dying one may be gone.
CREATE FUNCTION rebuild_gone(p_job bigint, p_attempt bigint, p_claim uuid, p_repository int, p_nos bigint[], p_why text) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  repo int := rebuild_fence(p_job, p_attempt, p_claim, p_repository);
  gone bigint;
BEGIN
  UPDATE pack SET damaged_at = clock_timestamp(), damage = left(p_why, 1000), verified_at = NULL
    WHERE repository = repo AND no = ANY (p_nos) AND state IN ('live', 'condemned') AND damaged_at IS NULL;
  GET DIAGNOSTICS gone = ROW_COUNT;
  RETURN gone;
END $$;

-- Where a chunk lies, for whoever walks a manifest: also in packs that an attempt staged whose commit was lost.
CREATE FUNCTION rebuild_find(p_job bigint, p_attempt bigint, p_claim uuid, p_repository int, p_ids bytea[], p_not uuid)
  RETURNS TABLE (n bigint, pack_no bigint, object uuid, pack uuid, ordinal int, codec smallint, start bigint, stored int, plain int)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = holdfast, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
  repo int := rebuild_fence(p_job, p_attempt, p_claim, p_repository);
BEGIN
  RETURN QUERY SELECT DISTINCT ON (q.n) q.n, p.no, p.object, p.pack, c.ordinal, c.codec, c.start, c.stored, c.plain
    FROM unnest(p_ids) WITH ORDINALITY AS q(id, n)
    CROSS JOIN LATERAL (SELECT * FROM chunk x WHERE x.repository = repo AND x.id = q.id OFFSET 0) c
    CROSS JOIN LATERAL (SELECT * FROM pack y WHERE y.no = c.pack_no OFFSET 0) p
    WHERE p.damaged_at IS NULL AND p.sha256 IS NOT NULL AND p.state IN ('live', 'condemned', 'staged') AND p.object IS DISTINCT FROM p_not
    ORDER BY q.n, p.state = 'staged', p.no DESC;
END $$;

-- Which of these backups the catalogue has; and those that it has and that should be in the store.
CREATE FUNCTION rebuild_known(p_job bigint, p_attempt bigint, p_claim uuid, p_repository int, p_backups uuid[]) RETURNS SETOF uuid
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  repo int := rebuild_fence(p_job, p_attempt, p_claim, p_repository);
BEGIN
  RETURN QUERY SELECT b.id FROM backup b WHERE b.repository = repo AND b.id = ANY (p_backups)
    UNION SELECT c.backup FROM backup_copy c WHERE c.repository = repo AND c.backup = ANY (p_backups);
END $$;
CREATE FUNCTION rebuild_backups(p_job bigint, p_attempt bigint, p_claim uuid, p_repository int, p_after uuid, p_most int)
  RETURNS TABLE (backup uuid, manifest_sha256 bytea, marked boolean)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  repo int := rebuild_fence(p_job, p_attempt, p_claim, p_repository);
BEGIN
  RETURN QUERY SELECT b.id, b.manifest_sha256, b.marker_at IS NOT NULL FROM backup b
    WHERE b.repository = repo AND b.id > p_after AND b.deleted_at IS NULL ORDER BY b.id LIMIT p_most;
END $$;

-- A member in microseconds since 1970.
CREATE FUNCTION instant_of(p_facts jsonb, p_name text) RETURNS timestamptz LANGUAGE sql IMMUTABLE SET search_path = holdfast, pg_temp AS $$
  SELECT timestamptz '1970-01-01 00:00:00Z' + (p_facts ->> p_name)::bigint * interval '1 microsecond' $$;

-- Whoever made an imported backup: a worker of its host, or one that is not known here any more.
CREATE FUNCTION rebuild_worker(p_host text) RETURNS int LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  number int;
  safe text := coalesce(nullif(regexp_replace(left(p_host, 200), '[^A-Za-z0-9._-]', '_', 'g'), ''), 'unknown');
BEGIN
  SELECT no INTO number FROM worker WHERE host = safe ORDER BY retired_at IS NOT NULL, no LIMIT 1;
  IF number IS NULL THEN
    INSERT INTO worker(role_name, name, host, pools, retired_at) VALUES ('imported', 'imported', safe, '{}', clock_timestamp())
      RETURNING no INTO number;
  END IF;
  RETURN number;
END $$;

-- A source that no policy names (yet): applying one brings it to life.
CREATE FUNCTION rebuild_source(p_name text, p_type text, p_repository int) RETURNS int LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  number int;
BEGIN
  SELECT no INTO number FROM source WHERE name = p_name;
  IF number IS NULL THEN
    INSERT INTO source(name, type, spec, pool, repository, retired_at)
      VALUES (p_name, coalesce(nullif(p_type, ''), 'files'), '{"imported": true}', pool_named('default'), p_repository, clock_timestamp())
      RETURNING no INTO number;
  END IF;
  RETURN number;
END $$;

-- Why a manifest without a marker is not taken; NULL: nothing speaks against it.
CREATE FUNCTION rebuild_zombie(p_repository int, p_source int, p_facts jsonb) RETURNS text LANGUAGE plpgsql STABLE
  SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job;
BEGIN
  IF (p_facts ->> 'missing')::bigint > 0 THEN
    RETURN format('%s of its chunks are nowhere', p_facts ->> 'missing');
  ELSIF EXISTS (SELECT FROM backup b WHERE b.source = p_source AND b.repository = p_repository AND b.sequence = (p_facts ->> 'sequence')::bigint) THEN
    RETURN 'another attempt was committed in its place';
  ELSIF EXISTS (SELECT FROM job x WHERE x.source = p_source AND x.kind = 'backup' AND x.state = 'running') THEN
    RETURN 'a backup of its source is running: it may be its own';
  END IF;
  SELECT * INTO j FROM job x WHERE x.id = (p_facts ->> 'job')::bigint AND x.source = p_source AND x.kind = 'backup';
  IF j.state IN ('pending', 'queued') THEN
    RETURN format('%s is going to be tried again', job_text(j.id));
  ELSIF j.state IS NOT NULL AND j.attempt >= (p_facts ->> 'attempt')::bigint THEN
    RETURN format('%s ended without it', job_text(j.id));
  END IF;
  RETURN NULL;
END $$;

-- What the packs of a backup are worth: named by a backup they live (a dying one stays dying), and belong to its
-- source when the index that names them was written by its session and signed by whoever signed the manifest.
CREATE FUNCTION rebuild_own(p_repository int, p_source int, p_backup uuid, p_index uuid, p_signer bytea, p_packs bigint[]) RETURNS void
  LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
BEGIN
  PERFORM pg_advisory_xact_lock_shared(hashtextextended('holdfast.flip', p_repository));
  PERFORM FROM pack p WHERE p.no = ANY (p_packs) AND p.state <> 'live' ORDER BY p.no FOR NO KEY UPDATE;
  UPDATE pack SET state = 'live', condemned_epoch = NULL WHERE repository = p_repository AND no = ANY (p_packs)
    AND state IN ('staged', 'condemned') AND sha256 IS NOT NULL;
  UPDATE pack p SET domain = p_source FROM rebuilt_index i
    WHERE i.repository = p_repository AND (i.backup = p_backup OR (i.backup IS NULL AND i.object = p_index)) AND i.signer = p_signer
      AND p.no = ANY (i.packs) AND p.domain = -1;
END $$;

-- One backup that the store has and the catalogue has not. Answers imported, recovered, known, or zombie with why.
CREATE FUNCTION rebuild_backup(p_job bigint, p_attempt bigint, p_claim uuid, p_repository int, p_id uuid, p_manifest_sha256 bytea,
    p_signer bytea, p_index uuid, p_packs bigint[], p_facts jsonb) RETURNS TABLE (answer text, why text)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  repo int := rebuild_fence(p_job, p_attempt, p_claim, p_repository);
  marked boolean := (p_facts ->> 'marked')::boolean;
  missing bigint := (p_facts ->> 'missing')::bigint;
  src int;
  wrk int;
  number bigint;
  began timestamptz := instant_of(p_facts, 'started');
  ended timestamptz := instant_of(p_facts, 'committed');
BEGIN
  PERFORM need_values(num_nulls(p_id, p_manifest_sha256, p_signer, p_index, p_packs, p_facts, marked, missing, ended), 'rebuild_backup');
  PERFORM pg_advisory_xact_lock(hashtextextended('holdfast.rebuild', repo));
  IF EXISTS (SELECT FROM backup b WHERE b.id = p_id) THEN
    RETURN QUERY SELECT 'known', '';
    RETURN;
  END IF;
  src := rebuild_source(p_facts ->> 'source', p_facts ->> 'type', repo);
  IF NOT marked THEN
    why := rebuild_zombie(repo, src, p_facts);
    IF why IS NOT NULL THEN
      RETURN QUERY SELECT 'zombie', why;
      RETURN;
    END IF;
  END IF;
  wrk := rebuild_worker(p_facts ->> 'host');
  PERFORM rebuild_own(repo, src, p_id, p_index, p_signer, p_packs);
  INSERT INTO job(kind, trigger, source, schedule, slot, params, pool, actor, state, repository, created_at, run_at, finished_at, attempt)
    SELECT 'backup', CASE WHEN x.slot IS NULL THEN 'manual' ELSE 'scheduled' END, src, x.schedule, x.slot,
      jsonb_build_object('imported', true, 'job', p_facts -> 'job', 'attempt', p_facts -> 'attempt'), s.pool, 'rebuild',
      CASE WHEN (p_facts ->> 'partial')::boolean THEN 'partial' ELSE 'completed' END, repo, coalesce(began, ended), coalesce(began, ended), ended, 1
    FROM source s LEFT JOIN (SELECT p_facts ->> 'schedule' AS schedule, instant_of(p_facts, 'slot') AS slot) x
      ON x.schedule IS NOT NULL AND x.slot IS NOT NULL
        AND NOT EXISTS (SELECT FROM job o WHERE o.source = src AND o.schedule = x.schedule AND o.slot = x.slot)
    WHERE s.no = src RETURNING id INTO number;
  INSERT INTO job_attempt(job, attempt, claim, worker, instance, started_at, ended_at, outcome)
    VALUES (number, 1, gen_random_uuid(), wrk, '00000000-0000-0000-0000-000000000000', coalesce(began, ended), ended,
            CASE WHEN (p_facts ->> 'partial')::boolean THEN 'partial' ELSE 'completed' END);
  INSERT INTO backup(id, job, attempt, source, schedule, slot, policy, repository, key_set, sequence, parent, outcome, manifest_sha256,
      index_object, index_sha256, consistent_at, position, receipt, started_at, committed_at, entries, bytes, stored_bytes, new_bytes,
      issues, issue_count, packs, marker_at, origin)
    SELECT p_id, number, 1, src, p_facts ->> 'schedule', instant_of(p_facts, 'slot'), p_facts ->> 'policy', repo, r.key_set,
      (p_facts ->> 'sequence')::bigint, (p_facts ->> 'parent')::uuid,
      CASE WHEN (p_facts ->> 'partial')::boolean THEN 'partial' ELSE 'completed' END, p_manifest_sha256, p_index,
      coalesce((SELECT i.sha256 FROM rebuilt_index i WHERE i.repository = repo AND i.object = p_index), decode(repeat('00', 32), 'hex')),
      instant_of(p_facts, 'consistent'), coalesce(p_facts ->> 'position', ''), coalesce(p_facts -> 'receipt', '{}'),
      coalesce(began, ended), ended, (p_facts ->> 'entries')::bigint, (p_facts ->> 'bytes')::bigint, (p_facts ->> 'stored')::bigint,
      (p_facts ->> 'new')::bigint, coalesce(p_facts -> 'issues', '[]'), coalesce((p_facts ->> 'issue_count')::bigint, 0),
      array(SELECT DISTINCT u FROM unnest(p_packs) u ORDER BY u), CASE WHEN marked THEN clock_timestamp() END,
      CASE WHEN marked THEN 'imported' ELSE 'recovered' END
    FROM repository r WHERE r.no = repo;
  INSERT INTO backup_item(backup, n, kind, name, entries, rows, bytes)
    SELECT p_id, x.n, coalesce(x.item ->> 'kind', ''), coalesce(x.item ->> 'name', ''), coalesce((x.item ->> 'entries')::bigint, 0),
      coalesce((x.item ->> 'rows')::bigint, 0), coalesce((x.item ->> 'bytes')::bigint, 0)
    FROM jsonb_array_elements(coalesce(p_facts #> '{receipt,items}', '[]')) WITH ORDINALITY AS x(item, n);
  -- Its own job read it back before it was committed, and the marker says that it was committed.
  INSERT INTO verification(backup, job, level, result, started_at, finished_at, worker, checks)
    VALUES (p_id, number, 'stored', CASE WHEN missing > 0 THEN 'failed' WHEN marked THEN 'ok' ELSE 'inconclusive' END, ended, ended, wrk,
            jsonb_build_object('imported', true, 'missing', missing));
  RETURN QUERY SELECT CASE WHEN marked THEN 'imported' ELSE 'recovered' END, '';
END $$;

-- Backups whose manifest was looked for by name and is not there, or is another one: they prove nothing any more.
CREATE FUNCTION rebuild_lost(p_job bigint, p_attempt bigint, p_claim uuid, p_repository int, p_backup uuid, p_why text) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  repo int := rebuild_fence(p_job, p_attempt, p_claim, p_repository);
BEGIN
  INSERT INTO verification(backup, job, level, result, started_at, checks)
    SELECT b.id, CASE WHEN p_job = 0 THEN b.job ELSE p_job END, 'stored', 'failed', clock_timestamp(), jsonb_build_object('lost', left(p_why, 400))
    FROM backup b WHERE b.id = p_backup AND b.repository = repo AND b.deleted_at IS NULL
      AND NOT EXISTS (SELECT FROM verification v WHERE v.backup = b.id AND v.level = 'stored' AND v.checks ? 'lost'
        AND v.id = (SELECT max(w.id) FROM verification w WHERE w.backup = b.id AND w.level = 'stored'));
  RETURN FOUND;
END $$;

-- A backup that the store says was forgotten, by the hand of the prune role.
CREATE FUNCTION rebuild_forgotten(p_job bigint, p_attempt bigint, p_claim uuid, p_repository int, p_backup uuid) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  repo int := rebuild_fence(p_job, p_attempt, p_claim, p_repository);
BEGIN
  UPDATE backup SET deleted_at = clock_timestamp() WHERE id = p_backup AND repository = repo AND deleted_at IS NULL;
  RETURN FOUND;
END $$;

-- The store and the catalogue say the same again. The epoch is brought above the store's, unless nothing was here
-- before; sharing goes on, because what is missing is marked by now. The freeze stays.
CREATE FUNCTION rebuild_done(p_job bigint, p_attempt bigint, p_claim uuid, p_repository int, p_epoch bigint, p_what text, p_report jsonb)
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
GRANT EXECUTE ON FUNCTION rebuild_begin, rebuild_indexes, rebuild_packs, rebuild_expected, rebuild_gone, rebuild_find, rebuild_known,
  rebuild_backups, rebuild_backup, rebuild_lost, rebuild_forgotten, rebuild_done TO holdfast_reader;

-- --- the job --------------------------------------------------------------------------------------

-- As before; a rebuild opens index objects.
CREATE OR REPLACE FUNCTION job_missing(j job, facts jsonb, reader boolean) RETURNS text LANGUAGE plpgsql STABLE
  SET search_path = holdfast, pg_temp AS $$
DECLARE
  s source;
  r repository;
  st store;
  lacks text[] := '{}';
  probe text := coalesce(j.params ->> 'probe', '');
  reads boolean;
BEGIN
  SELECT * INTO s FROM source WHERE no = j.source;
  SELECT * INTO r FROM repository WHERE no = CASE WHEN j.kind = 'backup' THEN s.repository ELSE j.repository END;
  SELECT * INTO st FROM store WHERE name = r.store;
  IF facts ? 'orders' AND NOT facts -> 'orders' @> '1' THEN -- what job_order writes as v
    lacks := lacks || format('order version 1 (it reads %s)', facts ->> 'orders');
  END IF;
  IF j.kind IN ('backup', 'restore') OR probe = 'source_test' THEN
    IF facts ? 'engines' AND s.type IS NOT NULL AND NOT facts -> 'engines' ? s.type THEN
      lacks := lacks || format('engine %s', s.type);
    END IF;
  END IF;
  IF j.kind = 'backup' AND s.type = 'postgresql' AND facts #> '{tools,pg_dump}' IS NOT NULL AND NOT EXISTS (
       SELECT FROM jsonb_array_elements_text(facts #> '{tools,pg_dump}') t WHERE substring(t FROM '^[0-9]{1,4}')::int >= coalesce(s.server_major, 0)) THEN
    lacks := lacks || format('pg_dump %sor newer (it has %s)', s.server_major || ' ',
      coalesce((SELECT string_agg(t, ', ') FROM jsonb_array_elements_text(facts #> '{tools,pg_dump}') t), 'none'));
  END IF;
  IF r.no IS NOT NULL THEN
    IF facts ? 'stores' AND NOT facts -> 'stores' ? r.store THEN
      lacks := lacks || format('store %s', r.store);
    END IF;
    IF r.key_set <> '' AND facts ? 'key_sets' AND NOT facts -> 'key_sets' ? r.key_set THEN
      lacks := lacks || format('key set %s', r.key_set);
    END IF;
    reads := j.kind IN ('restore', 'rebuild') OR (j.kind = 'verify' AND j.params ->> 'level' IS DISTINCT FROM 'stored')
             OR probe IN ('backup_files', 'restore_plan');
    IF r.key_set <> '' AND reads AND NOT (reader AND coalesce(facts -> 'roles' ? 'read', false)) THEN
      lacks := lacks || format('reader key of %s', r.key_set);
    END IF;
    IF r.key_set <> '' AND j.kind = 'backup' AND NOT coalesce(facts -> 'roles' ? 'write', false) THEN
      lacks := lacks || format('writer key of %s', r.key_set);
    END IF;
    IF j.kind IN ('prune', 'retention') AND NOT coalesce(facts -> 'roles' ? 'prune', false) THEN
      lacks := lacks || 'prune credential'::text;
    END IF;
  END IF;
  IF facts ? 'credentials' THEN
    lacks := lacks || array(
      SELECT format('credential %s', c) FROM credentials_in(
        CASE WHEN j.kind = 'backup' OR probe = 'source_test' THEN coalesce(s.spec -> 'config', '{}') ELSE j.params END) c
      WHERE NOT facts -> 'credentials' ? c);
    IF r.no IS NOT NULL THEN
      lacks := lacks || array(
        SELECT format('credential %s', c) FROM credentials_in(
          CASE WHEN j.kind IN ('prune', 'retention') THEN st.config
               ELSE st.config - 'prune_access_key' - 'prune_secret_key' END) c
        WHERE NOT facts -> 'credentials' ? c);
    END IF;
  END IF;
  RETURN CASE WHEN cardinality(lacks) > 0 THEN left('lacks ' || array_to_string(lacks, ', '), 240) END;
END $$;

-- As before; also which slot of which schedule it is, so that the store can tell it again.
CREATE OR REPLACE FUNCTION job_order(j job) RETURNS jsonb LANGUAGE plpgsql STABLE SET search_path = holdfast, pg_temp AS $$
DECLARE
  s source;
  r repository;
  st store;
  parent backup;
  last_one backup;
BEGIN
  SELECT * INTO s FROM source WHERE no = j.source;
  SELECT * INTO r FROM repository WHERE no = j.repository;
  SELECT * INTO st FROM store WHERE name = r.store;
  SELECT * INTO parent FROM backup b WHERE b.source = j.source AND b.repository = j.repository ORDER BY sequence DESC LIMIT 1;
  SELECT * INTO last_one FROM backup b WHERE b.source = j.source ORDER BY committed_at DESC LIMIT 1;
  RETURN jsonb_build_object('v', 1, 'job', j.id, 'attempt', j.attempt, 'kind', j.kind, 'trigger', j.trigger,
    'lease_s', setting_of('lease_s'), 'beat_s', setting_of('beat_s'),
    'source', CASE WHEN s.no IS NOT NULL THEN
       jsonb_build_object('no', s.no, 'name', s.name, 'type', s.type, 'config', coalesce(s.spec -> 'config', '{}')) END,
    'policy', jsonb_build_object('name', s.policy, 'timeout_s', s.spec -> 'timeout_s', 'stall_s', s.spec -> 'stall_s',
       'rate', job_rate(j, coalesce((s.spec ->> 'rate')::bigint, 0)), 'dedup', coalesce(s.spec -> 'dedup', '"source"'),
       'compression', s.spec -> 'compression', 'allow_partial', s.spec -> 'allow_partial', 'hooks', s.spec -> 'hooks'),
    'repository', CASE WHEN r.no IS NOT NULL THEN
       jsonb_build_object('no', r.no, 'id', r.id, 'key_set', nullif(r.key_set, ''), 'base_epoch', r.gc_epoch,
         'store', jsonb_build_object('name', st.name) || st.config) END,
    'parent', CASE WHEN j.kind = 'backup' AND parent.id IS NOT NULL THEN
       jsonb_build_object('backup', parent.id, 'sequence', parent.sequence,
         'manifest_sha256', encode(parent.manifest_sha256, 'hex')) END,
    'last', CASE WHEN last_one.id IS NOT NULL THEN
       jsonb_build_object('bytes', last_one.bytes, 'stored', last_one.stored_bytes,
         'seconds', round(extract(epoch FROM last_one.committed_at - last_one.started_at))) END,
    'params', j.params, 'schedule', j.schedule, 'slot', rfc3339(j.slot));
END $$;

-- The repository in a store; p_key_set NULL: the only one.
CREATE FUNCTION rebuild_repository(p_store text, p_key_set text) RETURNS int LANGUAGE plpgsql STABLE SET search_path = holdfast, pg_temp AS $$
DECLARE
  nos int[];
BEGIN
  SELECT array_agg(r.no ORDER BY r.no) INTO nos FROM repository r
    WHERE r.store = p_store AND (p_key_set IS NULL OR r.key_set = CASE p_key_set WHEN 'plain' THEN '' ELSE p_key_set END);
  IF nos IS NULL THEN
    RAISE EXCEPTION 'no repository of the policy lies in store %: apply the fleet file that names it first', coalesce(p_store, '')
      USING ERRCODE = 'HF002', DETAIL = 'store.unknown';
  ELSIF cardinality(nos) > 1 THEN
    RAISE EXCEPTION 'store % holds the repositories of several key sets: say which, one of %', p_store,
      (SELECT string_agg(CASE r.key_set WHEN '' THEN 'plain' ELSE r.key_set END, ', ' ORDER BY r.no) FROM repository r WHERE r.no = ANY (nos))
      USING ERRCODE = 'HF004', DETAIL = 'store.several';
  END IF;
  RETURN nos[1];
END $$;
GRANT EXECUTE ON FUNCTION rebuild_repository TO holdfast_scheduler;

-- As before; a rebuild is of a store.
CREATE OR REPLACE FUNCTION job_create(p_kind text, p_trigger text, p_source text, p_pool text, p_params jsonb, p_actor text, p_key text,
    p_priority int, p_start_by timestamptz) RETURNS TABLE (job bigint, pool int, again boolean)
  LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  s source;
  b backup;
  in_pool int;
  repo int;
  number bigint;
  known job;
BEGIN
  PERFORM need_values(num_nulls(p_kind, p_trigger, p_params, p_actor), 'job_create');
  IF p_key IS NOT NULL THEN
    PERFORM pg_advisory_xact_lock(hashtextextended('holdfast.key ' || p_actor || ' ' || p_key, 0));
    SELECT * INTO known FROM job j WHERE j.actor = p_actor AND j.idempotency_key = p_key;
    IF FOUND THEN
      RETURN QUERY SELECT known.id, known.pool, true;
      RETURN;
    END IF;
  END IF;
  IF p_params ? 'backup' THEN
    SELECT * INTO b FROM backup x WHERE x.id = (p_params ->> 'backup')::uuid AND x.deleted_at IS NULL;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'no backup has the id %', p_params ->> 'backup' USING ERRCODE = 'HF002', DETAIL = 'backup.unknown';
    END IF;
  END IF;
  IF coalesce(p_source, '') <> '' THEN
    SELECT * INTO s FROM source x WHERE x.name = p_source;
    IF s.no IS NULL THEN
      RAISE EXCEPTION 'no source is called %', p_source USING ERRCODE = 'HF002', DETAIL = 'source.unknown';
    END IF;
  ELSIF b.id IS NOT NULL THEN
    SELECT * INTO s FROM source x WHERE x.no = b.source;
  END IF;
  IF p_kind = 'backup' AND (s.no IS NULL OR s.retired_at IS NOT NULL) THEN
    RAISE EXCEPTION 'a backup needs a source that the policy has' USING ERRCODE = 'HF003', DETAIL = 'source.retired';
  END IF;
  IF (p_kind IN ('restore', 'verify') OR p_params ->> 'probe' IN ('backup_files', 'restore_plan')) AND b.id IS NULL THEN
    RAISE EXCEPTION 'a % job names a backup in its params', p_kind USING ERRCODE = 'HF004', DETAIL = 'job.params';
  END IF;
  IF coalesce(p_pool, '') <> '' THEN
    SELECT x.no INTO in_pool FROM pool x WHERE x.name = p_pool;
    IF in_pool IS NULL THEN
      RAISE EXCEPTION 'no pool is called %', p_pool USING ERRCODE = 'HF002', DETAIL = 'pool.unknown';
    END IF;
  END IF;
  IF p_kind = 'rebuild' THEN
    repo := rebuild_repository(p_params ->> 'store', p_params ->> 'key_set');
    in_pool := coalesce(in_pool, (SELECT p.no FROM worker w JOIN pool p ON p.no = ANY (w.pools) -- where a reader waits
      WHERE w.reader AND w.retired_at IS NULL AND NOT p.name LIKE 'host:%' ORDER BY p.name <> 'default', p.no LIMIT 1));
  ELSE
    repo := b.repository;
  END IF;
  in_pool := coalesce(in_pool, s.pool, pool_named('default'));
  number := job_new(p_kind, p_trigger, s, NULL, NULL, p_params, in_pool, p_actor, p_key,
    CASE WHEN p_kind = 'probe' THEN 80 WHEN p_kind IN ('restore', 'rebuild') THEN 60 ELSE coalesce(p_priority, 0) END,
    'pending', p_start_by, repo, b.id);
  RETURN QUERY SELECT number, in_pool, false;
END $$;
