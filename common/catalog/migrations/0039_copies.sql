-- Copies: a backup in further repositories of its key set, made pack by pack by whoever may write, without a reader.
-- A copy job reads in one repository (a read session of its own) and writes in another (its session, like a backup's).
-- What it stores belongs to nobody's domain until a reader has opened it: its rows are those of the place it came
-- from, and the hash that this place knows is the only one that is taken.
ALTER TABLE verification ADD COLUMN repository int REFERENCES repository;          -- where it looked
UPDATE verification v SET repository = coalesce((SELECT j.repository FROM job j WHERE j.id = v.job), b.repository) FROM backup b WHERE b.id = v.backup;
ALTER TABLE backup_copy
  ADD COLUMN attempt bigint NOT NULL DEFAULT 0,
  ADD COLUMN new_bytes bigint NOT NULL DEFAULT 0,                    -- that this job sent
  ADD COLUMN deleted_reason text,
  ADD COLUMN index_gone_at timestamptz;
CREATE INDEX pack_of_id ON pack(repository, pack);
CREATE INDEX backup_copy_of_repository ON backup_copy(repository) WHERE deleted_at IS NULL;
CREATE INDEX backup_copy_unmarked ON backup_copy(repository) WHERE marker_at IS NULL AND deleted_at IS NULL;
CREATE UNIQUE INDEX job_one_copy ON job(backup, (params ->> 'store')) WHERE kind = 'copy' AND state IN ('pending', 'queued', 'running');

CREATE FUNCTION verification_where() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
BEGIN
  NEW.repository := coalesce(NEW.repository, (SELECT j.repository FROM job j WHERE j.id = NEW.job), (SELECT b.repository FROM backup b WHERE b.id = NEW.backup));
  RETURN NEW;
END $$;
CREATE TRIGGER verification_where BEFORE INSERT ON verification FOR EACH ROW EXECUTE FUNCTION verification_where();

-- The repositories of a policy's further stores exist as soon as a source names them.
CREATE FUNCTION source_places() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
BEGIN
  INSERT INTO repository(store, key_set)
    SELECT DISTINCT st.name, coalesce(NEW.spec ->> 'key_set', '')
    FROM jsonb_array_elements(coalesce(NEW.spec -> 'copies', '[]')) c JOIN store st ON st.name = c ->> 'store'
    WHERE c ->> 'layout' IS DISTINCT FROM 'plain'
      AND NOT EXISTS (SELECT FROM repository r WHERE r.store = st.name AND r.key_set = coalesce(NEW.spec ->> 'key_set', ''))
    ON CONFLICT (store, key_set) DO NOTHING;
  RETURN NULL;
END $$;
CREATE TRIGGER source_places AFTER INSERT OR UPDATE OF spec ON source FOR EACH ROW EXECUTE FUNCTION source_places();

-- A job has one session that is its own and, when it copies, another in which it reads.
CREATE OR REPLACE FUNCTION fence_session(p_job bigint, p_attempt bigint) RETURNS session LANGUAGE plpgsql STABLE
  SET search_path = holdfast, pg_temp AS $$
DECLARE
  s session;
BEGIN
  SELECT x.* INTO s FROM session x JOIN job j ON j.id = x.job AND j.repository = x.repository
    WHERE x.job = p_job AND x.attempt = p_attempt AND x.state = 'open';
  IF NOT FOUND THEN
    RAISE EXCEPTION 'job % has no open session: its kind reads and writes no repository', p_job
      USING ERRCODE = 'HF004', DETAIL = 'job.no_session';
  END IF;
  RETURN s;
END $$;

-- What a copy stores is nobody's until a reader has seen it: domain -1, which no source has.
CREATE OR REPLACE FUNCTION job_domains(j job) RETURNS int[] LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT CASE WHEN j.kind = 'copy' THEN ARRAY[-1] ELSE
    (SELECT CASE WHEN s.spec ->> 'dedup' = 'repository' THEN ARRAY[0, s.no] ELSE ARRAY[s.no] END FROM source s WHERE s.no = j.source) END $$;

-- --- where a backup lies --------------------------------------------------------------------------

CREATE VIEW backup_place AS
  SELECT b.id AS backup, b.source, b.repository, true AS made_here, b.packs, b.index_object, b.stored_bytes, b.committed_at, b.marker_at,
    b.expires_at, b.deleted_at, b.deleted_reason, b.gone_at FROM backup b
  UNION ALL
  SELECT c.backup, b.source, c.repository, false, c.packs, c.index_object, c.stored_bytes, c.committed_at, c.marker_at,
    c.expires_at, c.deleted_at, c.deleted_reason, c.gone_at FROM backup_copy c JOIN backup b ON b.id = c.backup;

-- Why this place is not to be read from if there is another; NULL: nothing speaks against it.
CREATE FUNCTION place_fault(p_backup uuid, p_repository int) RETURNS text LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT coalesce(
    (SELECT format('%s of its packs are damaged', count(*)) FROM backup_place x JOIN pack p ON p.no = ANY (x.packs)
      WHERE x.backup = p_backup AND x.repository = p_repository AND p.damaged_at IS NOT NULL HAVING count(*) > 0),
    (SELECT format('its check of %s failed on %s', f.level, rfc3339(f.finished_at)) FROM verification f
      WHERE f.backup = p_backup AND f.repository = p_repository AND f.result = 'failed'
        AND NOT EXISTS (SELECT FROM verification g WHERE g.backup = f.backup AND g.repository = f.repository AND g.level = f.level
          AND g.result = 'ok' AND g.finished_at > f.finished_at) ORDER BY f.id DESC LIMIT 1),
    (SELECT 'its store or the catalogue was set back' FROM repository r WHERE r.no = p_repository AND r.rolled_back)) $$;

-- The places of a backup, the one to read from first: without fault, then where a live worker of the pool has the
-- store, then a local one, then one whose content was proved, then as the policy names them.
CREATE FUNCTION backup_places(p_backup uuid, p_pool int) RETURNS TABLE (n bigint, repository int, store text, fault text)
  LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT row_number() OVER (ORDER BY x.fault IS NOT NULL, NOT x.reached, x.far, NOT x.proved, NOT x.made_here, x.named, x.repository), x.repository, x.store, x.fault
  FROM (SELECT p.repository, r.store, p.made_here, place_fault(p_backup, p.repository) AS fault, st.config ->> 'type' IS DISTINCT FROM 'local' AS far,
      EXISTS (SELECT FROM worker w JOIN worker_instance i ON i.worker = w.no AND i.bye_at IS NULL
        AND i.seen_at > clock_timestamp() - make_interval(secs => greatest(setting_of('lease_s'), setting_of('liveness_s')))
        WHERE w.retired_at IS NULL AND NOT w.drain AND p_pool = ANY (w.pools) AND (NOT i.facts ? 'stores' OR i.facts -> 'stores' ? r.store)) AS reached,
      EXISTS (SELECT FROM verification v WHERE v.backup = p_backup AND v.repository = p.repository AND v.level <> 'stored' AND v.result = 'ok') AS proved,
      coalesce((SELECT min(c.n) FROM source s, jsonb_array_elements(coalesce(s.spec -> 'copies', '[]')) WITH ORDINALITY AS c(e, n)
        WHERE s.no = p.source AND c.e ->> 'store' = r.store), 1000) AS named
    FROM backup_place p JOIN repository r ON r.no = p.repository JOIN store st ON st.name = r.store
    WHERE p.backup = p_backup AND p.deleted_at IS NULL) x $$;

CREATE FUNCTION place_json(p backup_place) RETURNS jsonb LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT jsonb_build_object('store', r.store, 'state', CASE WHEN p.gone_at IS NOT NULL THEN 'gone' WHEN p.deleted_at IS NOT NULL THEN 'forgotten'
      WHEN x.fault IS NOT NULL THEN 'damaged' ELSE 'ok' END, 'fault', x.fault, 'made_here', p.made_here, 'committed_at', rfc3339(p.committed_at),
    'marked', p.marker_at IS NOT NULL, 'expires_at', rfc3339(p.expires_at), 'deleted_at', rfc3339(p.deleted_at),
    'verified', (SELECT v.level || ' ' || v.result FROM verification v WHERE v.backup = p.backup AND v.repository = p.repository
      ORDER BY v.finished_at DESC, v.id DESC LIMIT 1))
  FROM repository r, (SELECT CASE WHEN p.deleted_at IS NULL THEN place_fault(p.backup, p.repository) END AS fault) x WHERE r.no = p.repository $$;

-- Where a copy job reads: the best place that is not the one it writes.
CREATE FUNCTION copy_from(j job) RETURNS int LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT p.repository FROM backup_places(j.backup, j.pool) p WHERE p.repository IS DISTINCT FROM j.repository ORDER BY p.n LIMIT 1 $$;

CREATE FUNCTION repository_order(p_repository int) RETURNS jsonb LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT jsonb_build_object('no', r.no, 'id', r.id, 'key_set', nullif(r.key_set, ''), 'base_epoch', r.gc_epoch,
    'store', jsonb_build_object('name', st.name) || st.config) FROM repository r JOIN store st ON st.name = r.store WHERE r.no = p_repository $$;

ALTER FUNCTION job_order(job) RENAME TO job_order_one;
CREATE FUNCTION job_order(j job) RETURNS jsonb LANGUAGE plpgsql STABLE SET search_path = holdfast, pg_temp AS $$
BEGIN
  IF j.kind IS DISTINCT FROM 'copy' THEN
    RETURN job_order_one(j);
  END IF;
  RETURN job_order_one(j) || jsonb_build_object('from', repository_order(copy_from(j)));
END $$;

-- What one worker lacks to reach a store with what it announced.
CREATE FUNCTION store_missing(p_store text, facts jsonb) RETURNS text[] LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT CASE WHEN facts ? 'stores' AND NOT facts -> 'stores' ? p_store THEN ARRAY[format('store %s', p_store)] ELSE '{}' END
    || CASE WHEN facts ? 'credentials' THEN array(SELECT format('credential %s', c) FROM store st,
         credentials_in(st.config - 'prune_access_key' - 'prune_secret_key') c WHERE st.name = p_store AND NOT facts -> 'credentials' ? c) ELSE '{}' END $$;

ALTER FUNCTION job_missing(job, jsonb, boolean) RENAME TO job_missing_one;
CREATE FUNCTION job_missing(j job, facts jsonb, reader boolean) RETURNS text LANGUAGE plpgsql STABLE SET search_path = holdfast, pg_temp AS $$
DECLARE
  r repository;
  lacks text[];
  rest text;
BEGIN
  rest := job_missing_one(j, facts, reader);
  IF j.kind IS DISTINCT FROM 'copy' THEN
    RETURN rest;
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

-- --- making jobs ----------------------------------------------------------------------------------

-- Where a live worker waits that is fit for this job; its own pool when there is none.
CREATE FUNCTION copy_pool(j job) RETURNS int LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT coalesce((SELECT p.no FROM worker w JOIN worker_instance i ON i.worker = w.no AND i.bye_at IS NULL
        AND i.seen_at > clock_timestamp() - make_interval(secs => greatest(setting_of('lease_s'), setting_of('liveness_s')))
      JOIN pool p ON p.no = ANY (w.pools)
      WHERE w.retired_at IS NULL AND NOT w.drain AND job_missing(j, i.facts, w.reader) IS NULL
      ORDER BY p.no <> j.pool, p.name LIKE 'host:%', p.name LIMIT 1), j.pool) $$;

-- The repository of a store that a copy of this backup may go to; refused with the reason otherwise.
CREATE FUNCTION copy_target(b backup, p_store text) RETURNS int LANGUAGE plpgsql STABLE SET search_path = holdfast, pg_temp AS $$
DECLARE
  number int;
BEGIN
  SELECT r.no INTO number FROM repository r WHERE r.store = p_store AND r.key_set = b.key_set;
  IF number IS NULL AND NOT EXISTS (SELECT FROM store WHERE name = p_store AND retired_at IS NULL) THEN
    RAISE EXCEPTION 'no store is called %', p_store USING ERRCODE = 'HF002', DETAIL = 'store.unknown';
  ELSIF number IS NULL THEN
    RAISE EXCEPTION 'store % has no repository of the key set %: copies stay within one key set, a policy that names the store makes one',
      p_store, CASE b.key_set WHEN '' THEN 'plain' ELSE b.key_set END USING ERRCODE = 'HF003', DETAIL = 'copy.other_keys';
  ELSIF EXISTS (SELECT FROM backup_place p WHERE p.backup = b.id AND p.repository = number AND p.deleted_at IS NULL) THEN
    RAISE EXCEPTION '% is in store % already', backup_text(b.id), p_store USING ERRCODE = 'HF003', DETAIL = 'copy.there';
  ELSIF EXISTS (SELECT FROM backup_place p WHERE p.backup = b.id AND p.repository = number) THEN
    RAISE EXCEPTION '% was in store % and was forgotten there: names are written once', backup_text(b.id), p_store
      USING ERRCODE = 'HF003', DETAIL = 'copy.forgotten';
  END IF;
  RETURN number;
END $$;

CREATE FUNCTION copy_make(b backup, p_source source, p_store text, p_target int, p_trigger text, p_actor text, p_key text, p_pool int)
  RETURNS bigint LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job;
  params jsonb := jsonb_build_object('backup', b.id, 'store', p_store);
  number bigint;
BEGIN
  SELECT x.id INTO number FROM job x WHERE x.kind = 'copy' AND x.backup = b.id AND x.params ->> 'store' = p_store
    AND x.state IN ('pending', 'queued', 'running');
  IF number IS NOT NULL THEN
    RETURN number; -- on its way already
  END IF;
  j.kind := 'copy'; j.source := b.source; j.backup := b.id; j.repository := p_target; j.params := params; j.pool := coalesce(p_pool, p_source.pool);
  RETURN job_new('copy', p_trigger, p_source, NULL, NULL, params, coalesce(p_pool, copy_pool(j)), p_actor, p_key,
    CASE WHEN p_trigger = 'manual' THEN 10 ELSE 0 END, 'pending', NULL, p_target, b.id);
END $$;

-- On demand.
CREATE FUNCTION backup_copy_ask(p_backup uuid, p_store text, p_pool text, p_actor text, p_key text) RETURNS TABLE (job bigint, pool int, again boolean)
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
  PERFORM need_values(num_nulls(p_backup, p_store, p_actor), 'backup_copy_ask');
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
  target := copy_target(b, p_store);
  IF p_pool IS NOT NULL THEN
    SELECT x.no INTO in_pool FROM pool x WHERE x.name = p_pool;
    IF in_pool IS NULL THEN
      RAISE EXCEPTION 'no pool is called %', p_pool USING ERRCODE = 'HF002', DETAIL = 'pool.unknown';
    END IF;
  END IF;
  SELECT * INTO s FROM source x WHERE x.no = b.source;
  PERFORM pg_advisory_xact_lock(hashtextextended('holdfast.copy ' || p_backup, 0));
  number := copy_make(b, s, p_store, target, 'manual', p_actor, p_key, in_pool);
  RETURN QUERY SELECT number, (SELECT x.pool FROM job x WHERE x.id = number), false;
END $$;

-- Every backup that commits has its copies come due with it. A store that cannot have one is the policy's business,
-- not this commit's.
CREATE FUNCTION copies_come_due() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  s source;
BEGIN
  SELECT * INTO s FROM source WHERE no = NEW.source AND retired_at IS NULL AND jsonb_array_length(coalesce(spec -> 'copies', '[]')) > 1;
  IF FOUND AND NEW.origin = 'commit' THEN
    PERFORM copy_make(NEW, s, r.store, r.no, 'scheduled', 'scheduler', NULL, NULL)
      FROM jsonb_array_elements(s.spec -> 'copies') c JOIN repository r ON r.store = c ->> 'store' AND r.key_set = NEW.key_set
      WHERE c ->> 'layout' IS DISTINCT FROM 'plain' AND r.no <> NEW.repository;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER copies_come_due AFTER INSERT ON backup FOR EACH ROW EXECUTE FUNCTION copies_come_due();

-- Now and then: jobs that wait go where a fit worker is, and the newest good backup of a source whose policy names a
-- store since then, or whose copy failed for good a day ago, is copied.
CREATE FUNCTION copies_fire() RETURNS bigint LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  made bigint;
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
  RETURN made;
END $$;

-- --- the job --------------------------------------------------------------------------------------

CREATE FUNCTION fence_copy(p_job bigint, p_attempt bigint, p_claim uuid, p_lock boolean) RETURNS job LANGUAGE plpgsql
  SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, p_lock);
BEGIN
  IF j.kind IS DISTINCT FROM 'copy' THEN
    RAISE EXCEPTION 'a % job copies nothing', j.kind USING ERRCODE = 'HF005', DETAIL = 'job.kind';
  END IF;
  RETURN j;
END $$;

-- The backup, where it is read (p_from: as the order said) and what it weighs there. present: it is in the target already.
CREATE FUNCTION copy_open(p_job bigint, p_attempt bigint, p_claim uuid, p_from int)
  RETURNS TABLE (backup uuid, manifest_sha256 bytea, packs bigint, bytes bigint, present boolean)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  j job := fence_copy(p_job, p_attempt, p_claim, true);
  s session := fence_session(p_job, p_attempt);
  f repository;
  t repository;
  place backup_place;
BEGIN
  PERFORM need_values(num_nulls(p_from), 'copy_open');
  SELECT * INTO f FROM repository r WHERE r.no = p_from;
  SELECT * INTO t FROM repository r WHERE r.no = s.repository;
  SELECT * INTO place FROM backup_place p WHERE p.backup = j.backup AND p.repository = p_from AND p.deleted_at IS NULL;
  IF place.backup IS NULL THEN
    RAISE EXCEPTION '% is not in store % any more', backup_text(j.backup), f.store USING ERRCODE = 'HF002', DETAIL = 'backup.deleted';
  ELSIF f.key_set <> t.key_set OR f.no = t.no THEN
    RAISE EXCEPTION 'a copy goes to another repository of the same key set, not from %/% to %/%', f.store, f.key_set, t.store, t.key_set
      USING ERRCODE = 'HF004', DETAIL = 'copy.other_keys';
  ELSIF f.rolled_back OR t.rolled_back THEN
    RAISE EXCEPTION 'repository %/% or its catalogue was set back to an earlier day: nothing is copied until holdfast catalogue merge',
      CASE WHEN f.rolled_back THEN f.store ELSE t.store END, f.key_set USING ERRCODE = 'HF003', DETAIL = 'repo.rolled_back';
  END IF;
  INSERT INTO session(job, attempt, repository, writes, base_epoch) VALUES (p_job, p_attempt, p_from, false, f.gc_epoch) ON CONFLICT DO NOTHING;
  RETURN QUERY SELECT j.backup, b.manifest_sha256, cardinality(place.packs)::bigint,
      (SELECT coalesce(sum(p.bytes), 0)::bigint FROM pack p WHERE p.no = ANY (place.packs)),
      EXISTS (SELECT FROM backup_place p WHERE p.backup = j.backup AND p.repository = t.no AND p.deleted_at IS NULL)
    FROM backup b WHERE b.id = j.backup;
END $$;

-- The packs of the backup where it is read, each with the pack of the same bytes that the target has already (have).
CREATE FUNCTION copy_packs(p_job bigint, p_attempt bigint, p_claim uuid, p_from int, p_after bigint, p_most int)
  RETURNS TABLE (no bigint, object uuid, pack uuid, kind text, bytes bigint, sha256 bytea, have bigint, have_object uuid, have_staged boolean)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = holdfast, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
  j job := fence_copy(p_job, p_attempt, p_claim, false);
  s session := fence_session(p_job, p_attempt);
BEGIN
  RETURN QUERY SELECT p.no, p.object, p.pack, p.kind, p.bytes, p.sha256, h.no, h.object, h.state = 'staged'
    FROM (SELECT u.no FROM backup_place x CROSS JOIN LATERAL unnest(x.packs) u(no)
          WHERE x.backup = j.backup AND x.repository = p_from AND x.deleted_at IS NULL AND u.no > p_after ORDER BY u.no LIMIT p_most) n
    CROSS JOIN LATERAL (SELECT * FROM pack x WHERE x.no = n.no OFFSET 0) p
    LEFT JOIN LATERAL (SELECT y.no, y.object, y.state FROM pack y WHERE y.repository = s.repository AND y.pack = p.pack AND y.sha256 = p.sha256
      AND y.damaged_at IS NULL AND (y.state IN ('live', 'condemned') OR y.state = 'staged' AND y.job = p_job AND y.attempt = p_attempt)
      ORDER BY y.state = 'staged', y.no LIMIT 1) h ON true
    ORDER BY p.no;
END $$;

-- The object is durable and has the hash that the other place knows; its chunks are those of the pack there.
CREATE FUNCTION copy_stage(p_job bigint, p_attempt bigint, p_claim uuid, p_no bigint, p_object uuid, p_from bigint, p_bytes bigint, p_sha256 bytea)
  RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job := fence_copy(p_job, p_attempt, p_claim, true);
  p pack;
  f pack;
BEGIN
  PERFORM need_values(num_nulls(p_no, p_object, p_from, p_bytes, p_sha256), 'copy_stage');
  SELECT * INTO p FROM pack WHERE no = p_no AND object = p_object FOR UPDATE;
  SELECT * INTO f FROM pack WHERE no = p_from;
  IF p.no IS NULL OR p.job IS DISTINCT FROM p_job OR p.attempt IS DISTINCT FROM p_attempt OR p.state IS DISTINCT FROM 'staged' THEN
    RAISE EXCEPTION 'pack % is not this attempt''s to stage', p_no USING ERRCODE = 'HF003', DETAIL = 'pack.not_ours';
  ELSIF f.no IS NULL OR f.pack IS DISTINCT FROM p.pack OR f.kind IS DISTINCT FROM p.kind OR f.bytes IS DISTINCT FROM p_bytes
     OR f.sha256 IS DISTINCT FROM p_sha256
     OR NOT EXISTS (SELECT FROM backup_place x WHERE x.backup = j.backup AND x.repository = f.repository AND f.no = ANY (x.packs)) THEN
    RAISE EXCEPTION 'pack % is not the pack % of this backup', p_no, p_from USING ERRCODE = 'HF003', DETAIL = 'copy.other_pack';
  ELSIF p.sha256 IS NOT NULL THEN
    IF p.sha256 IS DISTINCT FROM p_sha256 THEN
      RAISE EXCEPTION 'pack % was staged with other bytes', p_no USING ERRCODE = 'HF003', DETAIL = 'pack.restaged';
    END IF;
    RETURN; -- the first answer was lost
  END IF;
  UPDATE pack SET bytes = p_bytes, sha256 = p_sha256 WHERE no = p_no;
  INSERT INTO chunk(repository, id, pack_no, ordinal, codec, start, stored, plain)
    SELECT p.repository, c.id, p_no, c.ordinal, c.codec, c.start, c.stored, c.plain FROM chunk c WHERE c.pack_no = p_from AND c.repository = f.repository
    ON CONFLICT DO NOTHING;
END $$;

-- What the job read is not what its row says: nobody shares it any more.
CREATE FUNCTION copy_damaged(p_job bigint, p_attempt bigint, p_claim uuid, p_no bigint, p_why text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  me worker := worker_me();
  j job := fence_copy(p_job, p_attempt, p_claim, true);
BEGIN
  UPDATE pack p SET damaged_at = coalesce(p.damaged_at, clock_timestamp()), damage = left(format('job %s on %s: %s', j.id, me.name, p_why), 1000),
    verified_at = NULL WHERE p.no = p_no AND EXISTS (SELECT FROM session s WHERE s.job = p_job AND s.attempt = p_attempt AND s.repository = p.repository)
      AND EXISTS (SELECT FROM backup_place x WHERE x.backup = j.backup AND p.no = ANY (x.packs) OR p.job = j.id AND p.attempt = j.attempt);
  INSERT INTO event(kind, source, job, data) VALUES ('alert', j.source, j.id, jsonb_build_object('code', 'pack.damaged', 'pack', p_no));
END $$;

-- The fenced COMMIT of a copy: as a backup's, and every pack of the place it came from has its twin here.
CREATE FUNCTION copy_commit(p_job bigint, p_attempt bigint, p_claim uuid, p_from int, p_index_object uuid, p_packs bigint[], p_new_bytes bigint)
  RETURNS TABLE (answer text, detail text) LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  me worker := worker_me();
  j job;
  s session;
  bad text;
  lacking bigint;
BEGIN
  PERFORM need_read_committed();
  PERFORM need_values(num_nulls(p_job, p_attempt, p_claim, p_from, p_index_object, p_packs, p_new_bytes), 'copy_commit');
  PERFORM FROM session x JOIN repository r ON r.no = x.repository WHERE x.job = p_job AND x.attempt = p_attempt AND x.state = 'open' AND x.writes FOR SHARE OF r;
  SELECT * INTO j FROM job WHERE id = p_job FOR UPDATE;
  IF j.id IS NULL OR j.state IS DISTINCT FROM 'running' OR j.attempt IS DISTINCT FROM p_attempt OR j.claim IS DISTINCT FROM p_claim
     OR NOT EXISTS (SELECT FROM lease l WHERE l.job = p_job AND l.attempt = p_attempt AND l.worker = me.no) THEN
    RETURN QUERY SELECT CASE WHEN EXISTS (SELECT FROM backup_copy c JOIN job_attempt a ON a.job = c.job AND a.attempt = c.attempt
      WHERE c.job = p_job AND c.attempt = p_attempt AND a.worker = me.no AND a.claim IS NOT DISTINCT FROM p_claim) THEN 'already' ELSE 'fenced' END, '';
    RETURN;
  END IF;
  j := fence_copy(p_job, p_attempt, p_claim, false);
  s := fence_session(p_job, p_attempt);
  PERFORM pg_advisory_xact_lock_shared(hashtextextended('holdfast.flip', s.repository));
  PERFORM FROM pack p WHERE p.no = ANY (p_packs) AND p.state <> 'live' ORDER BY p.no FOR NO KEY UPDATE;
  SELECT string_agg(x.no::text, ' ' ORDER BY x.no) FILTER (WHERE x.n <= 8) INTO bad
    FROM (SELECT u.no, row_number() OVER (ORDER BY u.no) AS n FROM unnest(p_packs) AS u(no)
          LEFT JOIN pack p ON p.no = u.no AND p.repository = s.repository
          WHERE p.no IS NULL OR p.damaged_at IS NOT NULL OR p.sha256 IS NULL OR p.state IN ('deleting', 'deleted')
             OR (p.state = 'staged' AND (p.job, p.attempt) IS DISTINCT FROM (p_job, p_attempt))) x;
  SELECT count(*) INTO lacking FROM backup_place x CROSS JOIN LATERAL unnest(x.packs) u(no) JOIN pack f ON f.no = u.no
    WHERE x.backup = j.backup AND x.repository = p_from
      AND NOT EXISTS (SELECT FROM pack p WHERE p.no = ANY (p_packs) AND p.pack = f.pack AND p.sha256 = f.sha256);
  IF bad IS NULL AND (lacking > 0 OR EXISTS (SELECT FROM repository r WHERE r.no = s.repository AND r.rolled_back)
     OR NOT EXISTS (SELECT FROM backup_place x WHERE x.backup = j.backup AND x.repository = p_from AND x.deleted_at IS NULL)) THEN
    bad := format('%s packs are not there yet', lacking);
  END IF;
  IF bad IS NOT NULL THEN
    RETURN QUERY SELECT 'damaged', left(bad, 240);
    RETURN;
  END IF;
  UPDATE pack SET state = 'live', condemned_epoch = NULL WHERE no = ANY (p_packs) AND state IN ('staged', 'condemned');
  INSERT INTO backup_copy(backup, repository, job, attempt, stored_bytes, new_bytes, index_object, packs)
    SELECT j.backup, s.repository, p_job, p_attempt, b.stored_bytes, p_new_bytes, p_index_object, array(SELECT DISTINCT u FROM unnest(p_packs) u ORDER BY u)
    FROM backup b WHERE b.id = j.backup;
  INSERT INTO verification(backup, repository, job, level, result, started_at, worker) VALUES (j.backup, s.repository, p_job, 'stored', 'ok', clock_timestamp(), me.no);
  PERFORM attempt_end(j, 'completed', NULL, NULL, NULL);
  UPDATE job SET state = 'completed', claim = NULL, finished_at = clock_timestamp() WHERE id = p_job;
  RETURN QUERY SELECT 'ok', '';
END $$;

-- --- markers --------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION marker_done(p_job bigint, p_attempt bigint, p_claim uuid, p_backup uuid) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  me worker := worker_me();
  j job;
  s session;
BEGIN
  PERFORM need_values(num_nulls(p_job, p_attempt, p_claim, p_backup), 'marker_done');
  UPDATE backup b SET marker_at = coalesce(marker_at, clock_timestamp()) FROM job_attempt a
    WHERE b.id = p_backup AND b.job = p_job AND b.attempt = p_attempt AND a.job = p_job AND a.attempt = p_attempt
      AND a.claim IS NOT DISTINCT FROM p_claim AND a.worker = me.no;
  IF FOUND THEN
    RETURN;
  END IF;
  UPDATE backup_copy c SET marker_at = coalesce(marker_at, clock_timestamp()) FROM job_attempt a
    WHERE c.backup = p_backup AND c.job = p_job AND c.attempt = p_attempt AND a.job = p_job AND a.attempt = p_attempt
      AND a.claim IS NOT DISTINCT FROM p_claim AND a.worker = me.no;
  IF FOUND THEN
    RETURN;
  END IF;
  j := fence_job(p_job, p_attempt, p_claim, true);
  s := fence_session(p_job, p_attempt);
  UPDATE backup SET marker_at = coalesce(marker_at, clock_timestamp()) WHERE id = p_backup AND repository = s.repository;
  UPDATE backup_copy SET marker_at = coalesce(marker_at, clock_timestamp()) WHERE backup = p_backup AND repository = s.repository;
END $$;

CREATE OR REPLACE FUNCTION markers_due(p_job bigint, p_attempt bigint, p_claim uuid)
  RETURNS TABLE (backup uuid, manifest_sha256 bytea, index_object uuid, index_sha256 bytea, job bigint, attempt bigint,
                 sequence bigint, committed_at timestamptz, source text)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, false);
  s session := fence_session(p_job, p_attempt);
BEGIN
  RETURN QUERY SELECT b.id, b.manifest_sha256, b.index_object, b.index_sha256, b.job, b.attempt, b.sequence, b.committed_at, src.name
    FROM backup b JOIN source src ON src.no = b.source
    WHERE b.repository = s.repository AND b.marker_at IS NULL AND b.deleted_at IS NULL
    UNION ALL
    SELECT b.id, b.manifest_sha256, c.index_object, b.index_sha256, c.job, c.attempt, b.sequence, c.committed_at, src.name
    FROM backup_copy c JOIN backup b ON b.id = c.backup JOIN source src ON src.no = b.source
    WHERE c.repository = s.repository AND c.marker_at IS NULL AND c.deleted_at IS NULL ORDER BY 8 LIMIT 1000;
END $$;

GRANT SELECT ON backup_place TO holdfast_scheduler, holdfast_auditor;
GRANT EXECUTE ON FUNCTION copy_open, copy_packs, copy_stage, copy_damaged, copy_commit TO holdfast_worker;
GRANT EXECUTE ON FUNCTION place_fault, place_json, backup_places, copy_from, repository_order, job_order, store_missing, job_missing, job_missing_one, copy_pool,
  copy_target, copy_make, backup_copy_ask, copies_fire TO holdfast_scheduler;
