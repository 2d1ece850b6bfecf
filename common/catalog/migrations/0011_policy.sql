-- The policy in force. Applying replaces it whole, in one transaction, and starts nothing.

CREATE TABLE limit_wanted (scope text PRIMARY KEY, n int NOT NULL CHECK (n > 0));

CREATE FUNCTION limit_resize(p_scope text, p_n int) RETURNS void LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
BEGIN
  IF p_n IS NULL THEN
    DELETE FROM limit_wanted WHERE scope = p_scope;
    DELETE FROM limit_slot WHERE scope = p_scope; -- unlimited: nobody counts any more
    RETURN;
  END IF;
  INSERT INTO limit_wanted VALUES (p_scope, p_n) ON CONFLICT (scope) DO UPDATE SET n = excluded.n;
  INSERT INTO limit_slot(scope, n) SELECT p_scope, g FROM generate_series(1, p_n) g ON CONFLICT DO NOTHING;
  DELETE FROM limit_slot WHERE scope = p_scope AND n > p_n AND job IS NULL; -- held ones go when they are free
END $$;

-- A job row with what its source's policy says about retries. The one place where jobs are made.
CREATE FUNCTION job_new(p_kind text, p_trigger text, p_source source, p_schedule text, p_slot timestamptz, p_params jsonb, p_pool int,
    p_actor text, p_key text, p_priority int, p_state text, p_start_by timestamptz, p_repository int, p_backup uuid) RETURNS bigint
  LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  retry jsonb := coalesce(p_source.spec -> 'retry', '{}');
  number bigint;
BEGIN
  INSERT INTO job(kind, trigger, source, schedule, slot, params, pool, actor, idempotency_key, priority, state, start_by, repository, backup,
      lanes, max_failures, backoff_s, max_backoff_s, jitter, finished_at, run_at)
    VALUES (p_kind, p_trigger, p_source.no, p_schedule, p_slot, p_params, coalesce(p_pool, p_source.pool), p_actor, p_key, p_priority,
      p_state, p_start_by, p_repository, p_backup,
      CASE WHEN p_kind = 'backup' THEN 1 WHEN p_kind = 'restore' AND p_params -> 'in_place' = 'true' THEN 3 ELSE 0 END,
      -- A restore, verify or probe that somebody waits for fails at once, with its reason.
      CASE WHEN p_kind IN ('backup', 'copy', 'prune', 'retention', 'health') THEN greatest(coalesce((retry ->> 'attempts')::int, 3), 1) ELSE 1 END,
      coalesce((retry ->> 'backoff_s')::float8, 120), coalesce((retry ->> 'max_backoff_s')::float8, 1800),
      coalesce(retry ->> 'jitter', 'equal') <> 'none',
      CASE WHEN p_state <> 'pending' THEN clock_timestamp() END, clock_timestamp())
    ON CONFLICT (source, schedule, slot) DO NOTHING RETURNING id INTO number;
  RETURN number;
END $$;

CREATE FUNCTION source_retire(p_source int, p_actor text) RETURNS int LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job;
  cancelled int := 0;
BEGIN
  UPDATE source SET retired_at = clock_timestamp() WHERE no = p_source;
  DELETE FROM schedule WHERE source = p_source;
  FOR j IN SELECT * FROM job WHERE source = p_source AND kind = 'backup' AND state IN ('pending', 'queued') ORDER BY id FOR UPDATE LOOP
    UPDATE job SET state = 'cancelled', finished_at = clock_timestamp(), queued_at = NULL, cause = 'source.retired' WHERE id = j.id;
    PERFORM decide(j, 'cancelled', 'source.retired', format('its source left the policy (%s)', p_actor));
    cancelled := cancelled + 1;
  END LOOP;
  RETURN cancelled;
END $$;

CREATE FUNCTION schedules_apply(p_source int, p_spec jsonb, p_fresh boolean) RETURNS void LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
BEGIN
  DELETE FROM schedule WHERE source = p_source AND NOT coalesce(p_spec -> 'schedules', '{}') ? name;
  -- A schedule that is new, or says another time now, begins now: applying starts nothing.
  INSERT INTO schedule AS s (source, name, at, timezone, kind, params, catch_up, overlap_skip, start_deadline_s, last_slot)
    SELECT p_source, e.key, e.value ->> 'at', coalesce(p_spec ->> 'timezone', 'UTC'), coalesce(e.value ->> 'kind', 'backup'),
      coalesce(e.value -> 'params', '{}') ||
        CASE WHEN e.value ->> 'method' IS NULL THEN '{}' ELSE jsonb_build_object('method', e.value -> 'method') END,
      coalesce(p_spec ->> 'catch_up', 'latest') = 'latest', coalesce(p_spec ->> 'overlap', 'skip') = 'skip',
      (p_spec ->> 'start_deadline_s')::bigint, clock_timestamp()
    FROM jsonb_each(coalesce(p_spec -> 'schedules', '{}')) e
    ON CONFLICT (source, name) DO UPDATE SET at = excluded.at, timezone = excluded.timezone, kind = excluded.kind,
      params = excluded.params, catch_up = excluded.catch_up, overlap_skip = excluded.overlap_skip,
      start_deadline_s = excluded.start_deadline_s,
      last_slot = CASE WHEN p_fresh OR s.at <> excluded.at OR s.timezone <> excluded.timezone OR s.kind <> excluded.kind
                       THEN greatest(s.last_slot, excluded.last_slot) ELSE s.last_slot END;
END $$;

CREATE FUNCTION policy_apply(p_document text, p_expected text, p_actor text)
  RETURNS TABLE (version bigint, changed boolean, added int, updated int, retired int, cancelled int, initial int, digest text)
  LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  doc jsonb := p_document::jsonb;
  new_digest text := encode(sha256(convert_to(p_document, 'UTF8')), 'hex');
  now_in_force policy_version;
  item record;
  spec jsonb;
  old source;
  repo int;
  me source;
  n_added int := 0; n_updated int := 0; n_retired int := 0; n_cancelled int := 0; n_initial int := 0;
BEGIN
  PERFORM need_values(num_nulls(p_document, p_actor), 'policy_apply');
  PERFORM pg_advisory_xact_lock(hashtext('holdfast.policy'));
  SELECT * INTO now_in_force FROM policy_version ORDER BY no DESC LIMIT 1;
  IF coalesce(p_expected, '') <> '' AND p_expected IS DISTINCT FROM now_in_force.digest THEN
    RAISE EXCEPTION 'another policy (%) is in force by now: plan again', left(coalesce(now_in_force.digest, 'none'), 12)
      USING ERRCODE = 'HF003', DETAIL = 'policy.changed';
  END IF;
  IF new_digest IS NOT DISTINCT FROM now_in_force.digest THEN
    RETURN QUERY SELECT now_in_force.no, false, 0, 0, 0, 0, 0, new_digest;
    RETURN;
  END IF;
  FOR item IN SELECT * FROM jsonb_each(coalesce(doc -> 'stores', '{}')) LOOP
    INSERT INTO store(name, config) VALUES (item.key, item.value)
      ON CONFLICT (name) DO UPDATE SET config = excluded.config, retired_at = NULL;
  END LOOP;
  UPDATE store SET retired_at = clock_timestamp() WHERE retired_at IS NULL AND NOT coalesce(doc -> 'stores', '{}') ? name;
  FOR item IN SELECT * FROM jsonb_each(coalesce(doc -> 'pools', '{}')) LOOP
    UPDATE pool SET max_jobs = (item.value ->> 'max_jobs')::int WHERE no = pool_named(item.key);
  END LOOP;
  UPDATE pool SET max_jobs = NULL WHERE max_jobs IS NOT NULL AND NOT coalesce(doc -> 'pools', '{}') ? name;
  PERFORM limit_resize('pool:' || p.name, p.max_jobs) FROM pool p;
  FOR item IN SELECT * FROM jsonb_each(coalesce(doc -> 'sources', '{}')) ORDER BY key LOOP
    spec := item.value;
    IF spec ->> 'type' IS NULL OR spec ->> 'store' IS NULL OR NOT coalesce(doc -> 'stores', '{}') ? (spec ->> 'store') THEN
      RAISE EXCEPTION 'source % needs a type and a store of the same policy', item.key USING ERRCODE = 'HF004', DETAIL = 'policy.source';
    END IF;
    SELECT no INTO repo FROM repository WHERE store = spec ->> 'store' AND key_set = coalesce(spec ->> 'key_set', '');
    IF repo IS NULL THEN
      INSERT INTO repository(store, key_set) VALUES (spec ->> 'store', coalesce(spec ->> 'key_set', '')) RETURNING no INTO repo;
    END IF;
    SELECT * INTO old FROM source WHERE name = item.key;
    INSERT INTO source AS s (name, type, spec, pool, repository, policy, owner, labels, rpo_s, rto_s)
      VALUES (item.key, spec ->> 'type', spec, pool_named(coalesce(spec ->> 'pool', 'host:' || (spec ->> 'host'), 'default')), repo,
        spec ->> 'policy', spec ->> 'owner', coalesce(spec -> 'labels', '{}'), nullif((spec #>> '{objectives,rpo_s}')::bigint, 0),
        nullif((spec #>> '{objectives,rto_s}')::bigint, 0))
      ON CONFLICT (name) DO UPDATE SET type = excluded.type, spec = excluded.spec, pool = excluded.pool, repository = excluded.repository,
        policy = excluded.policy, owner = excluded.owner, labels = excluded.labels, rpo_s = excluded.rpo_s, rto_s = excluded.rto_s,
        covered_since = CASE WHEN s.retired_at IS NULL THEN s.covered_since ELSE clock_timestamp() END, retired_at = NULL
      RETURNING * INTO me;
    PERFORM schedules_apply(me.no, spec, old.no IS NULL OR old.retired_at IS NOT NULL);
    -- A job that still waits goes where its source now is.
    UPDATE job SET pool = me.pool, state = 'pending', queued_at = NULL, dispatch = dispatch + 1
      WHERE source = me.no AND kind = 'backup' AND state IN ('pending', 'queued') AND pool = old.pool AND old.pool <> me.pool;
    IF old.no IS NULL OR old.retired_at IS NOT NULL THEN
      n_added := n_added + 1;
      IF spec -> 'initial' = 'true' AND old.no IS NULL THEN
        PERFORM job_new('backup', 'initial', me, NULL, NULL, '{}', NULL, p_actor, NULL, 0, 'pending', NULL, NULL, NULL);
        n_initial := n_initial + 1;
      END IF;
    ELSIF old.spec IS DISTINCT FROM spec THEN
      n_updated := n_updated + 1;
    END IF;
  END LOOP;
  PERFORM limit_resize('policy:' || x.policy, x.n)
    FROM (SELECT policy, max((spec ->> 'concurrent')::int) AS n FROM source WHERE retired_at IS NULL AND policy IS NOT NULL GROUP BY policy) x;
  FOR old IN SELECT * FROM source WHERE retired_at IS NULL AND NOT coalesce(doc -> 'sources', '{}') ? name LOOP
    n_cancelled := n_cancelled + source_retire(old.no, p_actor);
    n_retired := n_retired + 1;
  END LOOP;
  INSERT INTO policy_version(digest, document, actor) VALUES (new_digest, p_document, p_actor) RETURNING * INTO now_in_force;
  INSERT INTO audit_event(actor, actor_kind, via, action, object, result, detail)
    VALUES (p_actor, 'user', 'scheduler', 'policy.apply', 'fleet.yaml@' || left(new_digest, 12), 'ok',
      jsonb_build_object('added', n_added, 'updated', n_updated, 'retired', n_retired, 'version', now_in_force.no));
  RETURN QUERY SELECT now_in_force.no, true, n_added, n_updated, n_retired, n_cancelled, n_initial, new_digest;
END $$;

CREATE FUNCTION source_pause(p_name text, p_until timestamptz, p_reason text, p_actor text) RETURNS void
  LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
BEGIN
  UPDATE source SET paused_until = p_until, paused_reason = CASE WHEN p_until IS NOT NULL THEN p_reason END
    WHERE name = p_name AND retired_at IS NULL;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'no source is called %', p_name USING ERRCODE = 'HF002', DETAIL = 'source.unknown';
  END IF;
  INSERT INTO audit_event(actor, actor_kind, via, action, object, reason, result)
    VALUES (p_actor, 'user', 'api', CASE WHEN p_until IS NULL THEN 'source.resume' ELSE 'source.pause' END, p_name, p_reason, 'ok');
END $$;
