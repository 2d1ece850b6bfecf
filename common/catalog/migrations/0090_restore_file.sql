-- A restore may be of a dump that no backup holds: its params name a file of the worker's host instead, and the job the source whose
-- server it goes into. Else as before.
CREATE OR REPLACE FUNCTION job_create_one(p_kind text, p_trigger text, p_source text, p_pool text, p_params jsonb, p_actor text, p_key text,
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
  IF p_params ? 'file' AND (p_kind = 'restore' OR p_params ->> 'probe' = 'restore_plan') THEN
    IF s.no IS NULL OR b.id IS NOT NULL THEN
      RAISE EXCEPTION 'a file is restored into a source, and no backup with it' USING ERRCODE = 'HF004', DETAIL = 'job.params';
    END IF;
  ELSIF (p_kind IN ('restore', 'verify') OR p_params ->> 'probe' IN ('backup_files', 'restore_plan')) AND b.id IS NULL THEN
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
