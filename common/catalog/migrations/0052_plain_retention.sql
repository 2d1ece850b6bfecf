-- Plain copies have rules of their own: with each planned retention of a source its plain copies are ruled on, store
-- by store, and a prune job of the store (params.plain, no repository) takes the files away. Whatever was not written by us is none of a row.
ALTER TABLE plain_copy
  ADD COLUMN planned_at timestamptz,
  ADD COLUMN planned_policy bigint,                                  -- policy_mark() of the rules
  ADD COLUMN ruling text;                                            -- why it stays or goes
CREATE INDEX plain_copy_going ON plain_copy(store) WHERE deleted_at IS NOT NULL AND gone_at IS NULL;

CREATE FUNCTION plain_stores(p_source int) RETURNS TABLE (store text, lock_s bigint) LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT st.name, coalesce(((st.config #>> '{lock,for}')::bigint) / 1000, 0) FROM store st WHERE EXISTS (
    SELECT FROM plain_copy c WHERE c.source = p_source AND c.store = st.name AND c.committed_at IS NOT NULL AND c.deleted_at IS NULL) ORDER BY 1 $$;

-- As retention_backups, of a source's plain copies in a store.
CREATE FUNCTION plain_backups(p_source int, p_store text)
  RETURNS TABLE (id uuid, at timestamptz, started_at timestamptz, committed_at timestamptz, sequence bigint, schedule text, quality int,
    proved boolean, in_use boolean, held_until timestamptz, locked_until timestamptz, bytes bigint, outcome text)
  LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT b.id, b.consistent_at, b.started_at, c.committed_at, b.sequence, b.schedule, CASE WHEN b.outcome <> 'completed' THEN 3 ELSE 1 END, false,
    EXISTS (SELECT FROM job j WHERE j.kind = 'copy' AND j.backup = b.id AND j.params ->> 'plain' = p_store AND j.state IN ('pending', 'queued', 'running')),
    b.held_until, c.committed_at + make_interval(secs => ((st.config #>> '{lock,for}')::bigint) / 1000), c.bytes, b.outcome
  FROM plain_copy c JOIN backup b ON b.id = c.backup JOIN store st ON st.name = c.store
  WHERE c.source = p_source AND c.store = p_store AND c.committed_at IS NOT NULL AND c.deleted_at IS NULL ORDER BY b.consistent_at, b.sequence $$;

-- A job that takes away what was given up in a store; the one that is on its way already if there is one.
CREATE FUNCTION plain_prune(p_store text, p_trigger text, p_actor text, p_key text) RETURNS bigint LANGUAGE plpgsql
  SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job;
  none source;
  number bigint;
  params jsonb := jsonb_build_object('plain', p_store);
BEGIN
  SELECT x.id INTO number FROM job x WHERE x.kind = 'prune' AND x.params ->> 'plain' = p_store AND x.state IN ('pending', 'queued');
  IF number IS NOT NULL THEN
    RETURN number;
  END IF;
  j.kind := 'prune'; j.params := params; j.pool := pool_named('default');
  RETURN job_new('prune', p_trigger, none, NULL, NULL, params, copy_pool(j), p_actor, p_key, 0, 'pending', NULL, NULL, NULL);
END $$;

-- What was ruled of a source's plain copies in a store; false: by the rules of another policy than the one in force.
CREATE FUNCTION plain_plan(p_source int, p_store text, p_policy bigint, p_backups uuid[], p_expires boolean[], p_reasons text[])
  RETURNS boolean LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
BEGIN
  PERFORM need_values(num_nulls(p_source, p_store, p_policy, p_backups, p_expires, p_reasons), 'plain_plan');
  IF p_policy <> policy_mark() THEN
    RETURN false;
  END IF;
  UPDATE plain_copy c SET planned_at = clock_timestamp(), planned_policy = p_policy, ruling = left(x.reason, 400),
      expires_at = CASE WHEN x.expires THEN coalesce(c.expires_at, clock_timestamp()) END
    FROM unnest(p_backups, p_expires, p_reasons) AS x(backup, expires, reason)
    WHERE c.backup = x.backup AND c.source = p_source AND c.store = p_store AND c.deleted_at IS NULL;
  IF true = ANY (p_expires) THEN
    PERFORM plain_prune(p_store, 'scheduled', 'scheduler', NULL);
  END IF;
  RETURN true;
END $$;

-- --- the job --------------------------------------------------------------------------------------

CREATE FUNCTION fence_plain_prune(p_job bigint, p_attempt bigint, p_claim uuid) RETURNS job LANGUAGE plpgsql
  SET search_path = holdfast, pg_temp AS $$
DECLARE
  me worker := worker_me();
  j job := fence_job(p_job, p_attempt, p_claim, true);
BEGIN
  IF NOT me.pruner OR j.kind IS DISTINCT FROM 'prune' OR NOT j.params ? 'plain' THEN
    RAISE EXCEPTION 'worker % may not delete: enroll it with --prune', me.name USING ERRCODE = 'HF005', DETAIL = 'worker.no_pruner';
  END IF;
  RETURN j;
END $$;

-- The files to take away. What expires by a plan that is fresh, is not held or doubtful by now and not the last good
-- one there is given up first; so is what no job will finish any more.
CREATE FUNCTION plain_take(p_job bigint, p_attempt bigint, p_claim uuid, p_most int)
  RETURNS TABLE (no bigint, name text, bytes bigint, sha256 bytea, why text) LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  j job := fence_plain_prune(p_job, p_attempt, p_claim);
  at text := j.params ->> 'plain';
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('holdfast.plain ' || at, 0));
  WITH going AS (
      UPDATE plain_copy c SET deleted_at = clock_timestamp(), deleted_reason = coalesce(c.ruling, 'it was never finished')
        FROM source s, backup b
        WHERE c.store = at AND c.deleted_at IS NULL AND s.no = c.source AND b.id = c.backup AND coalesce(b.held_until, '-infinity') <= clock_timestamp()
          AND NOT EXISTS (SELECT FROM job o WHERE o.backup = c.backup AND o.params ->> 'plain' = at AND o.state IN ('pending', 'queued', 'running'))
          AND (c.committed_at IS NULL AND c.staged_at < clock_timestamp() - interval '1 day'
            OR c.expires_at IS NOT NULL AND s.suspicious_at IS NULL AND c.planned_policy = policy_mark()
              AND c.planned_at > clock_timestamp() - make_interval(secs => setting_of('retention_plan_s'))
              AND EXISTS (SELECT FROM plain_copy o JOIN backup x ON x.id = o.backup WHERE o.source = c.source AND o.store = at AND o.committed_at IS NOT NULL
                AND o.deleted_at IS NULL AND o.expires_at IS NULL AND x.outcome = 'completed'))
        RETURNING c.*)
    INSERT INTO audit_event(actor, actor_kind, via, action, object, reason, result, detail)
      SELECT j.actor, 'system', 'worker', 'plain.delete', g.backup::text, g.deleted_reason, 'ok',
        jsonb_build_object('job', p_job, 'store', at, 'file', g.name) FROM going g;
  RETURN QUERY SELECT c.no, c.name, c.bytes, c.sha256, coalesce(c.deleted_reason, '') FROM plain_copy c
    WHERE c.store = at AND c.deleted_at IS NOT NULL AND c.gone_at IS NULL ORDER BY c.no LIMIT p_most;
END $$;

CREATE FUNCTION plain_gone(p_job bigint, p_attempt bigint, p_claim uuid, p_no bigint) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job := fence_plain_prune(p_job, p_attempt, p_claim);
BEGIN
  UPDATE plain_copy SET gone_at = clock_timestamp() WHERE no = p_no AND store = j.params ->> 'plain' AND deleted_at IS NOT NULL AND gone_at IS NULL;
END $$;

CREATE OR REPLACE FUNCTION job_order(j job) RETURNS jsonb LANGUAGE plpgsql STABLE SET search_path = holdfast, pg_temp AS $$
BEGIN
  IF j.kind = 'copy' AND NOT j.params ? 'plain' THEN
    RETURN job_order_one(j) || jsonb_build_object('from', repository_order(copy_from(j)));
  ELSIF j.kind IN ('restore', 'probe', 'copy') AND j.backup IS NOT NULL THEN -- in the order in which they are to be tried
    RETURN job_order_one(j) || jsonb_build_object('places', (SELECT coalesce(jsonb_agg(
        jsonb_build_object('store', p.store, 'fault', p.fault, 'repository', repository_order(p.repository))
        ORDER BY p.repository <> j.repository, p.n), '[]') FROM backup_places(j.backup, j.pool) p)) || CASE WHEN j.kind = 'copy' THEN jsonb_build_object('plain', plain_order(j)) ELSE '{}' END;
  END IF;
  IF j.kind = 'prune' AND j.params ? 'plain' THEN
    RETURN job_order_one(j) || jsonb_build_object('plain', (SELECT jsonb_build_object('store', jsonb_build_object('name', st.name) || st.config)
      FROM store st WHERE st.name = j.params ->> 'plain'));
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
  IF j.kind = 'prune' AND j.params ? 'plain' THEN
    lacks := store_missing(j.params ->> 'plain', facts);
    IF NOT coalesce(facts -> 'roles' ? 'prune', false) THEN
      lacks := lacks || 'prune credential'::text;
    END IF;
    IF facts ? 'credentials' THEN
      lacks := lacks || array(SELECT format('credential %s', c) FROM store st, credentials_in(jsonb_build_object('a', st.config -> 'prune_access_key',
        'b', st.config -> 'prune_secret_key')) c WHERE st.name = j.params ->> 'plain' AND NOT facts -> 'credentials' ? c);
    END IF;
    RETURN CASE WHEN cardinality(lacks) > 0 THEN left(coalesce(rest || ', ', 'lacks ') || array_to_string(lacks, ', '), 240) ELSE rest END;
  END IF;
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
  UPDATE job j SET pool = copy_pool(j) WHERE j.kind = 'prune' AND j.params ? 'plain' AND j.state = 'pending' AND j.pool IS DISTINCT FROM copy_pool(j);
  PERFORM plain_prune(c.store, 'scheduled', 'scheduler', NULL) FROM plain_copy c
    WHERE c.gone_at IS NULL AND (c.deleted_at IS NOT NULL OR c.committed_at IS NULL AND c.staged_at < clock_timestamp() - interval '1 day')
      AND NOT EXISTS (SELECT FROM job j WHERE j.kind = 'prune' AND j.params ->> 'plain' = c.store
        AND (j.finished_at IS NULL OR j.finished_at > clock_timestamp() - interval '1 hour')) GROUP BY c.store;
  RETURN made + plain;
END $$;

-- Everywhere, or in one store.
DROP FUNCTION backup_delete(uuid, text, text, text);
CREATE FUNCTION backup_delete(p_backup uuid, p_store text, p_reason text, p_actor text, p_key text) RETURNS TABLE (job bigint, pool int, again boolean)
  LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  b backup;
  p record;
  no record;
  first boolean := true;
BEGIN
  IF coalesce(btrim(p_reason), '') = '' THEN
    RAISE EXCEPTION 'a backup is not deleted without a reason' USING ERRCODE = 'HF004', DETAIL = 'backup.reason';
  END IF;
  SELECT * INTO b FROM backup x WHERE x.id = p_backup;
  IF b.id IS NULL THEN
    RAISE EXCEPTION 'no backup has the id %', p_backup USING ERRCODE = 'HF002', DETAIL = 'backup.unknown';
  END IF;
  IF p_store IS NOT NULL AND NOT EXISTS (SELECT FROM backup_place x JOIN repository r ON r.no = x.repository WHERE x.backup = b.id AND r.store = p_store
       AND x.deleted_at IS NULL) AND NOT EXISTS (SELECT FROM plain_copy c WHERE c.backup = b.id AND c.store = p_store AND c.deleted_at IS NULL) THEN
    RAISE EXCEPTION '% is not in store %', backup_text(p_backup), p_store USING ERRCODE = 'HF002', DETAIL = 'backup.not_there';
  ELSIF p_store IS NULL THEN
    SELECT * INTO no FROM forget_refusal(b);
  ELSE -- a plain copy is the last of nothing
    SELECT f.* INTO no FROM backup_place x JOIN repository r ON r.no = x.repository CROSS JOIN LATERAL place_refusal(b, x.repository) f
      WHERE x.backup = b.id AND r.store = p_store AND x.deleted_at IS NULL;
    IF no.answer IS NULL AND b.held_until > clock_timestamp() THEN
      SELECT 'held' AS answer, format('it is held: %s', coalesce(b.held_reason, '')) AS why INTO no;
    END IF;
  END IF;
  IF no.answer IS NOT NULL THEN
    RAISE EXCEPTION 'this backup is not deleted: %', no.why USING ERRCODE = 'HF003', DETAIL = 'backup.' || no.answer;
  END IF;
  FOR p IN SELECT x.repository, r.store, r.key_set FROM backup_place x JOIN repository r ON r.no = x.repository
      WHERE x.backup = b.id AND x.deleted_at IS NULL AND (p_store IS NULL OR r.store = p_store) ORDER BY x.made_here DESC, x.repository LOOP
    PERFORM collect_may(p.repository);
    SELECT x.job, x.pool, x.again INTO job, pool, again FROM repository_job('prune', 'manual', p.store, p.key_set,
      jsonb_build_object('forget', jsonb_build_array(p_backup), 'reason', p_reason), p_actor, CASE WHEN first THEN p_key END) x;
    IF first THEN
      RETURN NEXT;
      EXIT WHEN again;
    END IF;
    first := false;
  END LOOP;
  FOR p IN UPDATE plain_copy c SET deleted_at = clock_timestamp(), deleted_reason = left(p_reason, 400)
      WHERE c.backup = b.id AND c.deleted_at IS NULL AND (p_store IS NULL OR c.store = p_store) RETURNING c.store LOOP
    IF first THEN
      job := plain_prune(p.store, 'manual', p_actor, p_key);
      SELECT x.pool INTO pool FROM job x WHERE x.id = job;
      again := false;
      RETURN NEXT;
    ELSE
      PERFORM plain_prune(p.store, 'manual', p_actor, NULL);
    END IF;
    first := false;
  END LOOP;
END $$;

CREATE OR REPLACE FUNCTION plain_json(c plain_copy) RETURNS jsonb LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT jsonb_build_object('store', c.store, 'file', c.name, 'state', CASE WHEN c.gone_at IS NOT NULL THEN 'gone' WHEN c.deleted_at IS NOT NULL THEN 'forgotten'
      WHEN c.committed_at IS NULL THEN 'unfinished' ELSE 'ok' END, 'bytes', c.bytes, 'sha256', encode(c.sha256, 'hex'),
    'committed_at', rfc3339(c.committed_at), 'expires_at', rfc3339(c.expires_at), 'deleted_at', rfc3339(c.deleted_at), 'reason', coalesce(c.deleted_reason, c.ruling)) $$;

GRANT EXECUTE ON FUNCTION plain_take, plain_gone TO holdfast_worker;
GRANT EXECUTE ON FUNCTION plain_stores, plain_backups, plain_prune, plain_plan, backup_delete TO holdfast_scheduler;
GRANT UPDATE ON plain_copy TO holdfast_scheduler;
