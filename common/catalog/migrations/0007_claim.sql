-- Claiming: the only way to `running`. What a job needs, who has it, and the order that is given.

-- Every {"credential": name} inside a document.
CREATE FUNCTION credentials_in(p_config jsonb) RETURNS SETOF text LANGUAGE sql IMMUTABLE SET search_path = holdfast, pg_temp AS $$
  SELECT DISTINCT x #>> '{}' FROM jsonb_path_query(p_config, 'strict $.**.credential') x WHERE jsonb_typeof(x) = 'string' $$;

-- What the worker lacks for this job, as one line; NULL: it is fit. A list that the worker did not
-- announce is not held against it.
CREATE FUNCTION job_missing(j job, facts jsonb, reader boolean) RETURNS text LANGUAGE plpgsql STABLE
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
  IF j.kind IN ('backup', 'restore') OR probe = 'source_test' THEN
    IF facts ? 'engines' AND s.type IS NOT NULL AND NOT facts -> 'engines' ? s.type THEN
      lacks := lacks || format('engine %s', s.type);
    END IF;
  END IF;
  IF r.no IS NOT NULL THEN
    IF facts ? 'stores' AND NOT facts -> 'stores' ? r.store THEN
      lacks := lacks || format('store %s', r.store);
    END IF;
    IF r.key_set <> '' AND facts ? 'key_sets' AND NOT facts -> 'key_sets' ? r.key_set THEN
      lacks := lacks || format('key set %s', r.key_set);
    END IF;
    reads := j.kind = 'restore' OR (j.kind = 'verify' AND j.params ->> 'level' IS DISTINCT FROM 'stored')
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

-- The limits a job counts in, sorted, which fixes the lock order. A scope without rows is unlimited.
CREATE FUNCTION job_scopes(j job) RETURNS text[] LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT coalesce(array_agg(DISTINCT l.scope ORDER BY l.scope), '{}') FROM limit_slot l
  WHERE l.scope IN (SELECT 'pool:' || p.name FROM pool p WHERE p.no = j.pool
                    UNION ALL SELECT 'policy:' || s.policy FROM source s WHERE s.no = j.source AND j.kind = 'backup') $$;

-- The order. The source, its effective policy and the store are taken now, not when the job was
-- made: a retry must see the repaired policy, and no job may write to a store that the policy no
-- longer names. Only params are the job's own. The parent is the newest committed backup of this
-- source in this repository, deleted or not: sequence and manifest chain go on.
CREATE FUNCTION job_order(j job) RETURNS jsonb LANGUAGE plpgsql STABLE SET search_path = holdfast, pg_temp AS $$
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
       'rate', coalesce(s.spec -> 'rate', '0'), 'dedup', coalesce(s.spec -> 'dedup', '"source"'),
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
    'params', j.params);
END $$;

-- Not now: back to pending with a short random wait. Not a failure.
CREATE FUNCTION job_defer(j job, p_code text, p_text text) RETURNS void LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  least_s double precision := setting_of('defer_min_s');
  most_s double precision := greatest(setting_of('defer_max_s'), setting_of('defer_min_s'));
BEGIN
  UPDATE job SET state = 'pending', queued_at = NULL, dispatch = dispatch + 1, deferrals = deferrals + 1,
    run_at = clock_timestamp() + make_interval(secs => least_s + random() * (most_s - least_s)) WHERE id = j.id;
  PERFORM decide(j, 'deferred', p_code, p_text);
END $$;

CREATE FUNCTION job_claim(p_instance uuid, p_job bigint, p_dispatch bigint, p_claim uuid)
  RETURNS TABLE (status text, attempt bigint, job_order text, missing text)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  me worker := worker_me();
  i worker_instance;
  j job;
  held_by text;
  wanted text;
  free int;
  lacks text;
BEGIN
  PERFORM need_read_committed();
  PERFORM need_values(num_nulls(p_instance, p_job, p_dispatch, p_claim), 'job_claim');
  SELECT * INTO i FROM worker_instance w WHERE w.id = p_instance AND w.worker = me.no AND w.bye_at IS NULL;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'this worker did not say hello as instance %', p_instance USING ERRCODE = 'HF005', DETAIL = 'worker.other_instance';
  END IF;
  SELECT * INTO j FROM job WHERE id = p_job FOR UPDATE;
  IF NOT FOUND OR NOT worker_serves(me, j.pool, j.source) THEN
    RETURN QUERY SELECT 'stale', 0::bigint, NULL::text, 'no such job for this worker'; -- says no more to a stranger
    RETURN;
  END IF;
  IF j.state = 'running' AND j.claim IS NOT DISTINCT FROM p_claim
     AND EXISTS (SELECT FROM lease l WHERE l.job = j.id AND l.attempt = j.attempt AND l.instance = p_instance) THEN
    RETURN QUERY SELECT 'granted', j.attempt, job_order(j)::text, NULL::text; -- the first answer was lost
    RETURN;
  END IF;
  IF j.state NOT IN ('pending', 'queued') OR j.dispatch IS DISTINCT FROM p_dispatch OR j.cancel_requested
     OR j.run_at > clock_timestamp() OR j.start_by <= clock_timestamp() THEN
    RETURN QUERY SELECT 'stale', 0::bigint, NULL::text,
      format('job is %s, dispatch %s', j.state, CASE WHEN j.dispatch = p_dispatch THEN 'current' ELSE 'old' END);
    RETURN;
  END IF;
  IF me.drain OR EXISTS (SELECT FROM pool p WHERE p.no = j.pool AND p.paused) THEN
    RETURN QUERY SELECT 'paused', 0::bigint, NULL::text, CASE WHEN me.drain THEN 'worker drains' ELSE 'pool is paused' END;
    RETURN;
  END IF;
  lacks := job_missing(j, i.facts, me.reader);
  IF lacks IS NOT NULL THEN
    RETURN QUERY SELECT 'unfit', 0::bigint, NULL::text, lacks;
    RETURN;
  END IF;
  FOREACH wanted IN ARRAY job_scopes(j) LOOP
    SELECT n INTO free FROM limit_slot l WHERE l.scope = wanted AND l.job IS NULL ORDER BY n LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF free IS NULL THEN
      UPDATE limit_slot l SET job = NULL, attempt = NULL WHERE l.job = j.id; -- those taken a moment ago
      PERFORM job_defer(j, 'limit.full', format('limit %s is reached', wanted));
      RETURN QUERY SELECT 'full', 0::bigint, NULL::text, format('limit %s is reached', wanted);
      RETURN;
    END IF;
    UPDATE limit_slot l SET job = j.id, attempt = j.attempt + 1 WHERE l.scope = wanted AND l.n = free;
  END LOOP;
  BEGIN
    UPDATE job SET state = 'running', attempt = job.attempt + 1, claim = p_claim, queued_at = NULL,
      repository = CASE WHEN kind = 'backup' THEN (SELECT s.repository FROM source s WHERE s.no = job.source) ELSE repository END
      WHERE id = j.id RETURNING * INTO j;
  EXCEPTION WHEN unique_violation THEN
    UPDATE limit_slot l SET job = NULL, attempt = NULL WHERE l.job = j.id;
    SELECT format('job %s (%s) is running', o.id, o.kind) INTO held_by FROM job o
      WHERE o.source = j.source AND o.state = 'running' AND o.lanes & j.lanes <> 0 LIMIT 1;
    PERFORM job_defer(j, 'lane.busy', coalesce(held_by, 'the source was busy'));
    RETURN QUERY SELECT 'busy', 0::bigint, NULL::text, coalesce(held_by, 'the source was busy');
    RETURN;
  END;
  INSERT INTO job_attempt(job, attempt, claim, worker, instance) VALUES (j.id, j.attempt, p_claim, me.no, p_instance);
  INSERT INTO lease(job, attempt, worker, instance, expires_at, beat_at, moved_at)
    VALUES (j.id, j.attempt, me.no, p_instance, clock_timestamp() + make_interval(secs => setting_of('lease_s')),
            clock_timestamp(), clock_timestamp());
  IF j.repository IS NOT NULL THEN
    INSERT INTO session(job, attempt, repository, writes, base_epoch)
      SELECT j.id, j.attempt, r.no, j.kind IN ('backup', 'copy'), r.gc_epoch FROM repository r WHERE r.no = j.repository;
  END IF;
  PERFORM decide(j, 'ran', 'claimed', format('attempt %s on %s', j.attempt, me.name));
  RETURN QUERY SELECT 'granted', j.attempt, job_order(j)::text, NULL::text;
END $$;
