-- A pool that a policy names for the first time: made before its limit is set. An UPDATE does not see
-- the row that its own condition makes, so a new pool ran without its max_jobs until the next policy.
CREATE OR REPLACE FUNCTION policy_apply(p_document text, p_expected text, p_actor text)
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
  number int;
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
    number := pool_named(item.key);
    UPDATE pool SET max_jobs = (item.value ->> 'max_jobs')::int WHERE no = number;
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
