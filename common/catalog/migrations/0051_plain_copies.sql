-- Plain copies: a backup once more as a file that gunzip, tar and psql read, beside the repositories of its policy. They
-- are no place of a backup: nothing is restored from them, rebuilt of them or shared with them. A row says which
-- file of which store is ours, from before it has its name until after it is gone, so that nothing else is ever touched.
CREATE TABLE plain_copy (
  no         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  backup     uuid NOT NULL REFERENCES backup,
  source     int NOT NULL REFERENCES source,
  store      text NOT NULL REFERENCES store,
  name       text NOT NULL CHECK (octet_length(name) BETWEEN 1 AND 200), -- below the store's place
  meta       boolean NOT NULL,                                       -- name.meta is ours too
  job        bigint NOT NULL REFERENCES job,
  attempt    bigint NOT NULL,
  bytes      bigint,                                                 -- these two: known before the file has its name
  sha256     bytea CHECK (octet_length(sha256) = 32),
  staged_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  committed_at timestamptz,                                          -- it was read back, whole
  latest_at  timestamptz,                                            -- the store's latest names it since
  expires_at timestamptz,
  deleted_at timestamptz,
  deleted_reason text,
  gone_at    timestamptz);
CREATE UNIQUE INDEX plain_copy_name ON plain_copy(store, name) WHERE gone_at IS NULL;
CREATE UNIQUE INDEX plain_copy_of_backup ON plain_copy(backup, store) WHERE deleted_at IS NULL;
CREATE INDEX plain_copy_of_source ON plain_copy(source, store) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX job_one_plain ON job(backup, (params ->> 'plain')) WHERE kind = 'copy' AND state IN ('pending', 'queued', 'running');

-- A copy job reads as a restore does when its copy is plain (params.plain names the store).
CREATE FUNCTION job_finds(j job) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT j.kind IN ('restore', 'verify', 'probe', 'prune') OR j.kind = 'copy' AND j.params ? 'plain' $$;

CREATE OR REPLACE FUNCTION job_domains(j job) RETURNS int[] LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT CASE WHEN j.kind = 'copy' AND NOT j.params ? 'plain' THEN ARRAY[-1] ELSE
    (SELECT CASE WHEN s.spec ->> 'dedup' = 'repository' THEN ARRAY[0, s.no] ELSE ARRAY[s.no] END FROM source s WHERE s.no = j.source) END $$;

CREATE OR REPLACE FUNCTION chunk_find(p_job bigint, p_attempt bigint, p_claim uuid, p_ids bytea[])
  RETURNS TABLE (n bigint, pack_no bigint, object uuid, pack uuid, ordinal int, codec smallint, start bigint, stored int, plain int)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = holdfast, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, false);
  s session := fence_session(p_job, p_attempt);
  domains int[] := coalesce(job_domains(j), '{}');
BEGIN
  IF NOT job_finds(j) THEN
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
  IF NOT job_finds(j) THEN
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
  IF NOT job_finds(j) OR j.kind IN ('verify', 'prune')
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

CREATE OR REPLACE FUNCTION place_open(p_job bigint, p_attempt bigint, p_claim uuid, p_repository int) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, true);
BEGIN
  PERFORM need_values(num_nulls(p_repository), 'place_open');
  IF NOT job_finds(j) OR j.kind IN ('verify', 'prune')
     OR NOT EXISTS (SELECT FROM backup_place p WHERE p.backup = j.backup AND p.repository = p_repository AND p.deleted_at IS NULL) THEN
    RAISE EXCEPTION 'job % reads nothing there', p_job USING ERRCODE = 'HF005', DETAIL = 'job.not_a_reader';
  END IF;
  INSERT INTO session(job, attempt, repository, writes, base_epoch)
    SELECT p_job, p_attempt, r.no, false, r.gc_epoch FROM repository r WHERE r.no = p_repository ON CONFLICT DO NOTHING;
END $$;

CREATE OR REPLACE FUNCTION fence_copy(p_job bigint, p_attempt bigint, p_claim uuid, p_lock boolean) RETURNS job LANGUAGE plpgsql
  SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, p_lock);
BEGIN
  IF j.kind IS DISTINCT FROM 'copy' OR j.params ? 'plain' THEN
    RAISE EXCEPTION 'a % job copies nothing between repositories', j.kind USING ERRCODE = 'HF005', DETAIL = 'job.kind';
  END IF;
  RETURN j;
END $$;

CREATE FUNCTION fence_plain(p_job bigint, p_attempt bigint, p_claim uuid) RETURNS job LANGUAGE plpgsql
  SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, true);
BEGIN
  IF j.kind IS DISTINCT FROM 'copy' OR NOT j.params ? 'plain' THEN
    RAISE EXCEPTION 'a % job makes no plain copy', j.kind USING ERRCODE = 'HF005', DETAIL = 'job.kind';
  END IF;
  RETURN j;
END $$;

-- What the policy says of plain copies of a source in a store; where it says nothing, the usual name.
CREATE FUNCTION plain_rule(p_source int, p_store text) RETURNS jsonb LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT coalesce((SELECT c FROM source s, jsonb_array_elements(coalesce(s.spec -> 'copies', '[]')) c
    WHERE s.no = p_source AND c ->> 'layout' = 'plain' AND c ->> 'store' = p_store LIMIT 1), '{}') $$;

CREATE FUNCTION plain_order(j job) RETURNS jsonb LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT jsonb_build_object('store', jsonb_build_object('name', st.name) || st.config, 'name', c.rule -> 'name', 'latest', c.rule -> 'latest',
    'meta', coalesce(c.rule -> 'meta', 'true'), 'backup', backup_text(b.id), 'parent', backup_text(b.parent), 'outcome', b.outcome,
    'schedule', b.schedule, 'policy', s.policy, 'type', s.type, 'source', s.name, 'timestamp', rfc3339(b.consistent_at),
    'time', to_char(b.consistent_at AT TIME ZONE coalesce(s.spec ->> 'timezone', 'UTC'), 'YYYYMMDDHH24MISS'),
    'key_set', nullif(b.key_set, ''), 'server_version', b.receipt -> 'server_version', 'tool_version', b.receipt -> 'tool_version')
  FROM backup b JOIN source s ON s.no = b.source CROSS JOIN LATERAL (SELECT plain_rule(b.source, j.params ->> 'plain') AS rule) c
    JOIN store st ON st.name = j.params ->> 'plain' WHERE b.id = j.backup $$;

CREATE OR REPLACE FUNCTION job_order(j job) RETURNS jsonb LANGUAGE plpgsql STABLE SET search_path = holdfast, pg_temp AS $$
BEGIN
  IF j.kind = 'copy' AND NOT j.params ? 'plain' THEN
    RETURN job_order_one(j) || jsonb_build_object('from', repository_order(copy_from(j)));
  ELSIF j.kind IN ('restore', 'probe', 'copy') AND j.backup IS NOT NULL THEN -- in the order in which they are to be tried
    RETURN job_order_one(j) || jsonb_build_object('places', (SELECT coalesce(jsonb_agg(
        jsonb_build_object('store', p.store, 'fault', p.fault, 'repository', repository_order(p.repository))
        ORDER BY p.repository <> j.repository, p.n), '[]') FROM backup_places(j.backup, j.pool) p)) || CASE WHEN j.kind = 'copy' THEN jsonb_build_object('plain', plain_order(j)) ELSE '{}' END;
  END IF;
  RETURN job_order_one(j);
END $$;

CREATE OR REPLACE FUNCTION job_missing(j job, facts jsonb, reader boolean) RETURNS text LANGUAGE plpgsql STABLE SET search_path = holdfast, pg_temp AS $$
DECLARE
  r repository;
  lacks text[];
  rest text;
BEGIN
  rest := job_missing_one(j, facts, reader);
  IF j.kind IS DISTINCT FROM 'copy' THEN
    RETURN rest;
  END IF;
  IF j.params ? 'plain' THEN
    SELECT x.* INTO r FROM repository x WHERE x.no = j.repository;
    lacks := store_missing(j.params ->> 'plain', facts);
    IF r.key_set <> '' AND NOT (reader AND coalesce(facts -> 'roles' ? 'read', false)) THEN
      lacks := lacks || format('reader key of %s', r.key_set);
    END IF;
    IF NOT coalesce((facts -> 'plain')::boolean, false) THEN
      lacks := lacks || 'allow_plain in its worker.yaml'::text;
    END IF;
    RETURN CASE WHEN cardinality(lacks) > 0 THEN left(coalesce(rest || ', ', 'lacks ') || array_to_string(lacks, ', '), 240) ELSE rest END;
  END IF;
  SELECT x.* INTO r FROM repository x WHERE x.no = copy_from(j);
  lacks := store_missing(r.store, facts);
  IF r.key_set <> '' AND NOT coalesce(facts -> 'roles' ? 'write', false) THEN
    lacks := lacks || format('writer key of %s', r.key_set);
  END IF;
  IF cardinality(lacks) = 0 THEN
    RETURN rest;
  END IF;
  RETURN left(coalesce(rest || ', ', 'lacks ') || array_to_string(lacks, ', '), 240);
END $$;

CREATE OR REPLACE FUNCTION job_scopes(j holdfast.job) RETURNS text[] LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF j.trigger = 'emergency' THEN
    RETURN '{}';
  END IF;
  RETURN (SELECT coalesce(array_agg(x.scope ORDER BY x.scope COLLATE "C"), '{}') FROM (
    SELECT 'pool:' || p.name AS scope FROM holdfast.pool p WHERE p.no = j.pool
    UNION SELECT 'store:' || coalesce(j.params ->> 'plain', r.store) FROM holdfast.repository r WHERE r.no = j.repository AND j.kind = 'copy'
    UNION SELECT unnest(s.scopes) FROM holdfast.source s WHERE s.no = j.source AND j.kind = 'backup') x
    WHERE EXISTS (SELECT FROM holdfast.limit_slot l WHERE l.scope = x.scope));
END $$;

-- --- making jobs ----------------------------------------------------------------------------------

CREATE FUNCTION plain_make(b backup, p_source source, p_store text, p_trigger text, p_actor text, p_key text, p_pool int)
  RETURNS bigint LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job;
  params jsonb := jsonb_build_object('backup', b.id, 'plain', p_store);
  number bigint;
BEGIN
  SELECT x.id INTO number FROM job x WHERE x.kind = 'copy' AND x.backup = b.id AND x.params ->> 'plain' = p_store
    AND x.state IN ('pending', 'queued', 'running');
  IF number IS NOT NULL THEN
    RETURN number; -- on its way already
  END IF;
  j.kind := 'copy'; j.source := b.source; j.backup := b.id; j.params := params; j.pool := coalesce(p_pool, p_source.pool);
  j.repository := coalesce((SELECT p.repository FROM backup_places(b.id, j.pool) p ORDER BY p.n LIMIT 1), b.repository);
  RETURN job_new('copy', p_trigger, p_source, NULL, NULL, params, coalesce(p_pool, copy_pool(j)), p_actor, p_key,
    CASE WHEN p_trigger = 'manual' THEN 10 ELSE 0 END, 'pending', NULL, j.repository, b.id);
END $$;

DROP FUNCTION backup_copy_ask(uuid, text, text, text, text);
CREATE FUNCTION backup_copy_ask(p_backup uuid, p_store text, p_pool text, p_actor text, p_key text, p_plain boolean) RETURNS TABLE (job bigint, pool int, again boolean)
  LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  known job;
  b backup;
  s source;
  target int;
  in_pool int;
  number bigint;
BEGIN
  PERFORM need_values(num_nulls(p_backup, p_store, p_actor, p_plain), 'backup_copy_ask');
  IF p_key IS NOT NULL THEN
    PERFORM pg_advisory_xact_lock(hashtextextended('holdfast.key ' || p_actor || ' ' || p_key, 0));
    SELECT * INTO known FROM job j WHERE j.actor = p_actor AND j.idempotency_key = p_key;
    IF FOUND THEN
      RETURN QUERY SELECT known.id, known.pool, true;
      RETURN;
    END IF;
  END IF;
  SELECT * INTO b FROM backup x WHERE x.id = p_backup AND x.deleted_at IS NULL;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'no backup has the id %', backup_text(p_backup) USING ERRCODE = 'HF002', DETAIL = 'backup.unknown';
  END IF;
  IF p_plain THEN
    IF NOT EXISTS (SELECT FROM store WHERE name = p_store AND retired_at IS NULL) THEN
      RAISE EXCEPTION 'no store is called %', p_store USING ERRCODE = 'HF002', DETAIL = 'store.unknown';
    ELSIF EXISTS (SELECT FROM plain_copy c WHERE c.backup = p_backup AND c.store = p_store AND c.committed_at IS NOT NULL AND c.deleted_at IS NULL) THEN
      RAISE EXCEPTION 'a plain copy of % is in store % already', backup_text(p_backup), p_store USING ERRCODE = 'HF003', DETAIL = 'copy.there';
    END IF;
  ELSE
    target := copy_target(b, p_store);
  END IF;
  IF p_pool IS NOT NULL THEN
    SELECT x.no INTO in_pool FROM pool x WHERE x.name = p_pool;
    IF in_pool IS NULL THEN
      RAISE EXCEPTION 'no pool is called %', p_pool USING ERRCODE = 'HF002', DETAIL = 'pool.unknown';
    END IF;
  END IF;
  SELECT * INTO s FROM source x WHERE x.no = b.source;
  PERFORM pg_advisory_xact_lock(hashtextextended('holdfast.copy ' || p_backup, 0));
  number := CASE WHEN p_plain THEN plain_make(b, s, p_store, 'manual', p_actor, p_key, in_pool)
    ELSE copy_make(b, s, p_store, target, 'manual', p_actor, p_key, in_pool) END;
  RETURN QUERY SELECT number, (SELECT x.pool FROM job x WHERE x.id = number), false;
END $$;

CREATE OR REPLACE FUNCTION copies_come_due() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  s source;
BEGIN
  SELECT * INTO s FROM source WHERE no = NEW.source AND retired_at IS NULL AND jsonb_array_length(coalesce(spec -> 'copies', '[]')) > 1;
  IF FOUND AND NEW.origin = 'commit' THEN
    PERFORM copy_make(NEW, s, r.store, r.no, 'scheduled', 'scheduler', NULL, NULL)
      FROM jsonb_array_elements(s.spec -> 'copies') c JOIN repository r ON r.store = c ->> 'store' AND r.key_set = NEW.key_set
      WHERE c ->> 'layout' IS DISTINCT FROM 'plain' AND r.no <> NEW.repository;
    PERFORM plain_make(NEW, s, st.name, 'scheduled', 'scheduler', NULL, NULL)
      FROM jsonb_array_elements(s.spec -> 'copies') c JOIN store st ON st.name = c ->> 'store' WHERE c ->> 'layout' = 'plain';
  END IF;
  RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION copies_fire() RETURNS bigint LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  made bigint;
  plain bigint;
BEGIN
  UPDATE job j SET pool = copy_pool(j) WHERE j.kind = 'copy' AND j.state = 'pending' AND j.pool IS DISTINCT FROM copy_pool(j);
  SELECT count(copy_make(b, s, r.store, r.no, 'scheduled', 'scheduler', NULL, NULL)) INTO made
    FROM source s CROSS JOIN LATERAL jsonb_array_elements(s.spec -> 'copies') c
    JOIN LATERAL (SELECT x.* FROM backup x WHERE x.source = s.no AND x.deleted_at IS NULL AND backup_good(x) ORDER BY x.consistent_at DESC LIMIT 1) b ON true
    JOIN repository r ON r.store = c ->> 'store' AND r.key_set = b.key_set
    WHERE s.retired_at IS NULL AND jsonb_array_length(coalesce(s.spec -> 'copies', '[]')) > 1 AND c ->> 'layout' IS DISTINCT FROM 'plain'
      AND NOT r.rolled_back AND NOT EXISTS (SELECT FROM backup_place p WHERE p.backup = b.id AND p.repository = r.no)
      AND NOT EXISTS (SELECT FROM job j WHERE j.kind = 'copy' AND j.backup = b.id AND j.params ->> 'store' = r.store
        AND (j.finished_at IS NULL OR j.finished_at > clock_timestamp() - interval '1 day'));
  SELECT count(plain_make(b, s, st.name, 'scheduled', 'scheduler', NULL, NULL)) INTO plain
    FROM source s CROSS JOIN LATERAL jsonb_array_elements(s.spec -> 'copies') c
    JOIN LATERAL (SELECT x.* FROM backup x WHERE x.source = s.no AND x.deleted_at IS NULL AND backup_good(x) ORDER BY x.consistent_at DESC LIMIT 1) b ON true
    JOIN store st ON st.name = c ->> 'store'
    WHERE s.retired_at IS NULL AND jsonb_array_length(coalesce(s.spec -> 'copies', '[]')) > 1 AND c ->> 'layout' = 'plain'
      AND NOT EXISTS (SELECT FROM plain_copy p WHERE p.backup = b.id AND p.store = st.name AND p.committed_at IS NOT NULL)
      AND NOT EXISTS (SELECT FROM job j WHERE j.kind = 'copy' AND j.backup = b.id AND j.params ->> 'plain' = st.name
        AND (j.finished_at IS NULL OR j.finished_at > clock_timestamp() - interval '1 day'));
  RETURN made + plain;
END $$;

-- --- the job --------------------------------------------------------------------------------------

CREATE FUNCTION plain_newest(c plain_copy) RETURNS boolean LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT NOT EXISTS (SELECT FROM plain_copy x JOIN backup y ON y.id = x.backup JOIN backup b ON b.id = c.backup
    WHERE x.source = c.source AND x.store = c.store AND x.committed_at IS NOT NULL AND x.deleted_at IS NULL
      AND (y.consistent_at, y.sequence) > (b.consistent_at, b.sequence)) $$;

-- The row of this job's backup in this job's store, if there is one: a file that an earlier attempt has named or was
-- about to name. Whoever makes a plain copy only reads where it reads.
CREATE FUNCTION plain_open(p_job bigint, p_attempt bigint, p_claim uuid)
  RETURNS TABLE (name text, bytes bigint, sha256 bytea, committed boolean, newest boolean, told boolean)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  j job := fence_plain(p_job, p_attempt, p_claim);
BEGIN
  UPDATE session SET writes = false WHERE job = p_job AND attempt = p_attempt AND writes;
  RETURN QUERY SELECT c.name, c.bytes, c.sha256, c.committed_at IS NOT NULL, plain_newest(c), c.latest_at IS NOT NULL FROM plain_copy c
    WHERE c.backup = j.backup AND c.store = j.params ->> 'plain' AND c.deleted_at IS NULL;
END $$;

-- This job is about to write the file; with its hash: about to give it its name. False: the name is another's.
CREATE FUNCTION plain_stage(p_job bigint, p_attempt bigint, p_claim uuid, p_name text, p_meta boolean, p_bytes bigint, p_sha256 bytea)
  RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job := fence_plain(p_job, p_attempt, p_claim);
  at text := j.params ->> 'plain';
BEGIN
  PERFORM need_values(num_nulls(p_name, p_meta), 'plain_stage');
  IF position('/' IN p_name) > 0 AND EXISTS (SELECT FROM repository r WHERE r.store = at
      AND split_part(p_name, '/', 1) = CASE r.key_set WHEN '' THEN 'plain' ELSE r.key_set END) THEN
    RAISE EXCEPTION '% would lie among the objects of a repository: begin the name of the plain copies otherwise', p_name
      USING ERRCODE = 'HF003', DETAIL = 'plain.repository';
  END IF;
  PERFORM pg_advisory_xact_lock(hashtextextended('holdfast.plain ' || at, 0));
  IF EXISTS (SELECT FROM plain_copy c WHERE c.store = at AND c.gone_at IS NULL AND (c.deleted_at IS NOT NULL OR c.backup <> j.backup)
      AND p_name IN (c.name, c.name || '.meta')) THEN
    RETURN false;
  END IF;
  UPDATE plain_copy SET name = p_name, meta = p_meta, bytes = p_bytes, sha256 = p_sha256, job = p_job, attempt = p_attempt, staged_at = clock_timestamp()
    WHERE backup = j.backup AND store = at AND deleted_at IS NULL AND committed_at IS NULL;
  IF NOT FOUND THEN
    INSERT INTO plain_copy(backup, source, store, name, meta, bytes, sha256, job, attempt)
      VALUES (j.backup, j.source, at, p_name, p_meta, p_bytes, p_sha256, p_job, p_attempt);
  END IF;
  RETURN true;
END $$;

-- The file is there and was read back. True: it is the newest of its source there, and latest is to name it.
CREATE FUNCTION plain_commit(p_job bigint, p_attempt bigint, p_claim uuid) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job := fence_plain(p_job, p_attempt, p_claim);
  c plain_copy;
BEGIN
  UPDATE plain_copy x SET committed_at = coalesce(committed_at, clock_timestamp())
    WHERE x.backup = j.backup AND x.store = j.params ->> 'plain' AND x.deleted_at IS NULL AND x.sha256 IS NOT NULL AND x.job = p_job RETURNING * INTO c;
  IF c.no IS NULL THEN
    RAISE EXCEPTION 'job % has staged no plain copy', p_job USING ERRCODE = 'HF003', DETAIL = 'plain.not_staged';
  END IF;
  RETURN plain_newest(c);
END $$;

CREATE FUNCTION plain_latest(p_job bigint, p_attempt bigint, p_claim uuid) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job := fence_plain(p_job, p_attempt, p_claim);
BEGIN
  UPDATE plain_copy SET latest_at = clock_timestamp() WHERE backup = j.backup AND store = j.params ->> 'plain' AND deleted_at IS NULL;
END $$;

-- What was written is not what was meant: the file is given up, a pruner takes it away.
CREATE FUNCTION plain_give_up(p_job bigint, p_attempt bigint, p_claim uuid, p_why text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job := fence_plain(p_job, p_attempt, p_claim);
BEGIN
  UPDATE plain_copy SET deleted_at = clock_timestamp(), deleted_reason = left(p_why, 400)
    WHERE backup = j.backup AND store = j.params ->> 'plain' AND deleted_at IS NULL AND committed_at IS NULL;
END $$;

CREATE FUNCTION plain_json(c plain_copy) RETURNS jsonb LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT jsonb_build_object('store', c.store, 'file', c.name, 'state', CASE WHEN c.gone_at IS NOT NULL THEN 'gone' WHEN c.deleted_at IS NOT NULL THEN 'forgotten'
      WHEN c.committed_at IS NULL THEN 'unfinished' ELSE 'ok' END, 'bytes', c.bytes, 'sha256', encode(c.sha256, 'hex'),
    'committed_at', rfc3339(c.committed_at), 'expires_at', rfc3339(c.expires_at), 'deleted_at', rfc3339(c.deleted_at), 'reason', c.deleted_reason) $$;

GRANT EXECUTE ON FUNCTION plain_open, plain_stage, plain_commit, plain_latest, plain_give_up TO holdfast_worker;
GRANT SELECT ON plain_copy TO holdfast_scheduler;
GRANT EXECUTE ON FUNCTION job_finds, plain_rule, plain_order, plain_make, backup_copy_ask, plain_newest, plain_json TO holdfast_scheduler;
