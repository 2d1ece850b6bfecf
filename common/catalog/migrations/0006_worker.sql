-- What a worker process says of itself: hello, heartbeat, bye.

CREATE FUNCTION worker_hello(p_instance uuid, p_name text, p_version text, p_slots int, p_clock timestamptz, p_facts jsonb)
  RETURNS TABLE (worker int, lease_ms bigint, beat_ms bigint, liveness_ms bigint, drain boolean)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  me worker := worker_me();
  now_at timestamptz := clock_timestamp();
BEGIN
  PERFORM need_values(num_nulls(p_instance, p_name, p_version, p_slots, p_clock, p_facts), 'worker_hello');
  IF p_name IS DISTINCT FROM me.name THEN
    RAISE EXCEPTION 'this role is registered as worker %, not %: set name in worker.yaml', me.name, p_name
      USING ERRCODE = 'HF005', DETAIL = 'worker.other_name';
  END IF;
  INSERT INTO worker_instance AS i (id, worker, version, slots, facts, skew_ms, signature, hello_at, seen_at)
  VALUES (p_instance, me.no, p_version, p_slots, p_facts,
          round(extract(epoch FROM p_clock - now_at) * 1000)::bigint, worker_signature(me), now_at, now_at)
  ON CONFLICT (id) DO UPDATE SET version = excluded.version, slots = excluded.slots, facts = excluded.facts,
    skew_ms = excluded.skew_ms, signature = excluded.signature, hello_at = now_at, seen_at = now_at, bye_at = NULL
    WHERE i.worker = me.no;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'instance % belongs to another worker', p_instance USING ERRCODE = 'HF005', DETAIL = 'worker.other_instance';
  END IF;
  RETURN QUERY SELECT me.no, (setting_of('lease_s') * 1000)::bigint, (setting_of('beat_s') * 1000)::bigint,
                      (setting_of('liveness_s') * 1000)::bigint, me.drain;
END $$;

CREATE FUNCTION worker_pools() RETURNS TABLE (number int, name text, generation uuid)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  me worker := worker_me();
BEGIN
  RETURN QUERY SELECT p.no, p.name, p.generation FROM pool p
    WHERE p.no = ANY (me.pools)
       OR EXISTS (SELECT FROM source s WHERE s.pool = p.no AND s.retired_at IS NULL AND s.name = ANY (me.sources))
    ORDER BY p.no;
END $$;

CREATE FUNCTION worker_bye(p_instance uuid) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  me worker := worker_me();
BEGIN
  UPDATE worker_instance SET bye_at = clock_timestamp() WHERE id = p_instance AND worker = me.no AND bye_at IS NULL;
END $$;

-- One batch a process and beat. Row n = 0 is about the instance: held = known, cancel = drain,
-- changed = its pools are others than at hello. A job missing from the answer is fenced.
CREATE FUNCTION worker_beat(p_instance uuid, p_jobs bigint[], p_attempts bigint[], p_claims uuid[], p_phases text[],
    p_done bigint[], p_total bigint[], p_basis text[], p_items bigint[], p_errors bigint[], p_stored bigint[])
  RETURNS TABLE (n int, held boolean, cancel boolean, changed boolean)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  me worker := worker_me();
  now_at timestamptz := clock_timestamp();
  lease_for interval := make_interval(secs => setting_of('lease_s'));
BEGIN
  PERFORM need_values(num_nulls(p_instance, p_jobs, p_attempts, p_claims), 'worker_beat');
  -- Losing the last beats in a crash of the server costs nothing: nobody reaps during the grace.
  PERFORM set_config('synchronous_commit', 'off', true);
  RETURN QUERY UPDATE worker_instance i SET seen_at = now_at WHERE i.id = p_instance AND i.worker = me.no AND i.bye_at IS NULL
    RETURNING 0, true, me.drain, i.signature IS DISTINCT FROM worker_signature(me);
  -- No lock on the job is needed: whoever ends an attempt deletes its lease, and this waits for
  -- nothing but that row.
  RETURN QUERY UPDATE lease l
    SET expires_at = greatest(l.expires_at, clock_timestamp() + lease_for), beat_at = clock_timestamp(), phase = x.phase,
        moved_at = CASE WHEN (x.done, x.items, x.stored) IS DISTINCT FROM (l.bytes_done, l.items_done, l.stored)
                        THEN clock_timestamp() ELSE l.moved_at END,
        bytes_done = x.done, bytes_total = x.total, total_basis = x.basis, items_done = x.items,
        errors = x.errors, stored = x.stored
    FROM unnest(p_jobs, p_attempts, p_claims, p_phases, p_done, p_total, p_basis, p_items, p_errors, p_stored)
         WITH ORDINALITY AS x(job, attempt, claim, phase, done, total, basis, items, errors, stored, n)
    JOIN job j ON j.id = x.job
    WHERE l.job = x.job AND l.attempt = x.attempt AND l.worker = me.no
      AND j.state = 'running' AND j.attempt = x.attempt AND j.claim IS NOT DISTINCT FROM x.claim
    RETURNING x.n::int, true, j.cancel_requested, false;
END $$;
