-- Making jobs: by hand, and by slots. Every scheduler may do it at any time.

CREATE FUNCTION job_create(p_kind text, p_trigger text, p_source text, p_pool text, p_params jsonb, p_actor text, p_key text,
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
  in_pool := coalesce(in_pool, s.pool, pool_named('default'));
  repo := CASE WHEN b.id IS NOT NULL THEN b.repository END;
  number := job_new(p_kind, p_trigger, s, NULL, NULL, p_params, in_pool, p_actor, p_key,
    CASE WHEN p_kind = 'probe' THEN 80 WHEN p_kind = 'restore' THEN 60 ELSE coalesce(p_priority, 0) END,
    'pending', p_start_by, repo, b.id);
  RETURN QUERY SELECT number, in_pool, false;
END $$;

CREATE FUNCTION job_cancel(p_job bigint, p_actor text, p_reason text) RETURNS text LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job;
BEGIN
  SELECT * INTO j FROM job WHERE id = p_job FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'no such job' USING ERRCODE = 'HF002', DETAIL = 'job.unknown';
  END IF;
  IF j.finished_at IS NOT NULL THEN
    RETURN j.state;
  END IF;
  INSERT INTO audit_event(actor, actor_kind, via, action, object, reason, result)
    VALUES (p_actor, 'user', 'api', 'job.cancel', p_job::text, p_reason, 'ok');
  IF j.state = 'running' THEN
    UPDATE job SET cancel_requested = true WHERE id = p_job;
    RETURN 'running';
  END IF;
  UPDATE job SET state = 'cancelled', cancel_requested = true, finished_at = clock_timestamp(), queued_at = NULL,
    dispatch = dispatch + 1 WHERE id = p_job;
  PERFORM decide(j, 'cancelled', 'asked', format('cancelled by %s%s', p_actor, coalesce(': ' || nullif(p_reason, ''), '')));
  RETURN 'cancelled';
END $$;

CREATE FUNCTION job_retry(p_job bigint, p_actor text) RETURNS TABLE (job bigint, pool int, again boolean)
  LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  j job;
  s source;
BEGIN
  SELECT * INTO j FROM job x WHERE x.id = p_job FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'no such job' USING ERRCODE = 'HF002', DETAIL = 'job.unknown';
  END IF;
  IF j.state NOT IN ('failed', 'cancelled', 'missed', 'skipped') THEN
    RAISE EXCEPTION 'job is %: only what did not succeed is tried again', j.state USING ERRCODE = 'HF003', DETAIL = 'job.not_ended';
  END IF;
  INSERT INTO audit_event(actor, actor_kind, via, action, object, result) VALUES (p_actor, 'user', 'api', 'job.retry', p_job::text, 'ok');
  IF j.state = 'failed' THEN
    UPDATE job SET state = 'pending', finished_at = NULL, failures = 0, losses = 0, cancel_requested = false, start_by = NULL,
      dispatch = dispatch + 1, run_at = clock_timestamp() WHERE id = p_job;
    RETURN QUERY SELECT j.id, j.pool, true;
    RETURN;
  END IF;
  SELECT * INTO s FROM source x WHERE x.no = j.source;
  RETURN QUERY SELECT job_new(j.kind, 'retry', s, NULL, NULL, j.params, j.pool, p_actor, NULL, j.priority, 'pending', NULL,
    CASE WHEN j.backup IS NOT NULL THEN j.repository END, j.backup), j.pool, false;
END $$;

-- Slots of one (source, schedule) stand together, oldest first. Compare-and-set on last_slot gives
-- them to one scheduler, UNIQUE(source, schedule, slot) makes that a law.
CREATE FUNCTION slots_fire(p_sources int[], p_schedules text[], p_olds timestamptz[], p_slots timestamptz[], p_start_bys timestamptz[],
    p_missed boolean[]) RETURNS TABLE (n bigint, job bigint, state text) LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  x record;
  s source;
  sc schedule;
  won boolean := false;
  running job;
  number bigint;
  made_as text;
  why text;
  code text;
BEGIN
  FOR x IN SELECT *, lag(src) OVER w IS DISTINCT FROM src OR lag(name) OVER w IS DISTINCT FROM name AS is_first,
             max(slot) OVER (PARTITION BY src, name) AS newest
           FROM unnest(p_sources, p_schedules, p_olds, p_slots, p_start_bys, p_missed) WITH ORDINALITY
             AS u(src, name, old, slot, start_by, missed, n) WINDOW w AS (ORDER BY u.n) ORDER BY u.n LOOP
    IF x.slot > clock_timestamp() + interval '1 minute' THEN
      RAISE EXCEPTION 'slot % is in the future', x.slot USING ERRCODE = 'HF004', DETAIL = 'slot.future';
    END IF;
    IF x.is_first THEN
      UPDATE schedule SET last_slot = x.newest WHERE source = x.src AND name = x.name AND last_slot IS NOT DISTINCT FROM x.old
        RETURNING * INTO sc;
      won := FOUND;
      SELECT * INTO s FROM source WHERE no = x.src AND retired_at IS NULL;
      won := won AND FOUND;
    END IF;
    number := NULL;
    made_as := '';
    IF won THEN
      made_as := 'pending'; code := NULL; why := NULL;
      SELECT * INTO running FROM job j WHERE j.source = x.src AND j.kind = sc.kind AND j.state IN ('pending', 'queued', 'running')
        ORDER BY j.id LIMIT 1;
      IF x.missed THEN
        made_as := 'missed'; code := 'slot.missed'; why := 'no scheduler was there in time; a later slot runs instead, or its deadline passed';
      ELSIF s.paused_until > clock_timestamp() THEN
        made_as := 'skipped'; code := 'source.paused'; why := coalesce('paused: ' || nullif(s.paused_reason, ''), 'its source is paused');
      ELSIF sc.overlap_skip AND running.id IS NOT NULL THEN
        made_as := 'skipped'; code := 'overlap'; why := format('job %s is still %s', running.id, running.state);
      END IF;
      number := job_new(sc.kind, 'scheduled', s, x.name, x.slot, sc.params, NULL, 'scheduler', NULL, 0, made_as, x.start_by, NULL, NULL);
      IF number IS NOT NULL AND code IS NOT NULL THEN
        INSERT INTO decision(source, schedule, slot, job, verdict, code, text) VALUES (x.src, x.name, x.slot, number, made_as, code, why);
      END IF;
    END IF;
    RETURN QUERY SELECT x.n, coalesce(number, 0), CASE WHEN number IS NULL THEN '' ELSE made_as END;
  END LOOP;
END $$;
