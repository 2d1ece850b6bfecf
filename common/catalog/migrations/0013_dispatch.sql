-- Dispatch, repair of lost tickets, reaping, the leader. Any number of schedulers at once.

CREATE FUNCTION jobs_overdue() RETURNS int LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job;
  ended int := 0;
BEGIN
  FOR j IN SELECT * FROM job WHERE state IN ('pending', 'queued') AND start_by <= clock_timestamp() ORDER BY id LIMIT 1000
           FOR UPDATE SKIP LOCKED LOOP
    UPDATE job SET state = 'missed', finished_at = clock_timestamp(), queued_at = NULL, dispatch = dispatch + 1 WHERE id = j.id;
    PERFORM decide(j, 'missed', 'start_deadline', format('did not start before %s', to_char(j.start_by AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS"Z"')));
    ended := ended + 1;
  END LOOP;
  RETURN ended;
END $$;

-- Why no live worker of the job's pool can do it; NULL: somebody can.
CREATE FUNCTION job_nobody(j job) RETURNS text LANGUAGE plpgsql STABLE SET search_path = holdfast, pg_temp AS $$
DECLARE
  w record;
  lacks text;
  all_lacks text[] := '{}';
BEGIN
  FOR w IN SELECT m.name, m.reader, m.drain, i.facts FROM worker m
           JOIN worker_instance i ON i.worker = m.no AND i.bye_at IS NULL
             AND i.seen_at > clock_timestamp() - make_interval(secs => greatest(setting_of('lease_s'), setting_of('liveness_s')))
           WHERE m.retired_at IS NULL AND worker_serves(m, j.pool, j.source) LOOP
    lacks := CASE WHEN w.drain THEN 'drains' ELSE job_missing(j, w.facts, w.reader) END;
    IF lacks IS NULL THEN
      RETURN NULL;
    END IF;
    all_lacks := all_lacks || format('%s %s', w.name, lacks);
  END LOOP;
  RETURN left(CASE WHEN cardinality(all_lacks) = 0 THEN format('no live worker serves pool %s', (SELECT name FROM pool WHERE no = j.pool))
                   ELSE 'no capable worker: ' || array_to_string(all_lacks, '; ') END, 1000);
END $$;

-- A decision that is repeated at every look is written at most every ten seconds.
CREATE FUNCTION decide_seldom(p_job job, p_verdict text, p_code text, p_text text) RETURNS void LANGUAGE plpgsql
  SET search_path = holdfast, pg_temp AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM decision WHERE job = p_job.id AND code = p_code AND last_at > clock_timestamp() - interval '10 seconds'
                 AND text = p_text) THEN
    PERFORM decide(p_job, p_verdict, p_code, p_text);
  END IF;
END $$;

CREATE FUNCTION dispatch_pick(p_pool int, p_most int) RETURNS TABLE (job bigint, dispatch bigint, kind text, urgent boolean)
  LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  j job;
  picked int := 0;
  held text;
  busy bigint;
  full_scope text;
  asked jsonb := '{}'; -- answers of job_nobody, one per kind of need
  need text;
  sent int[] := '{}';  -- sources whose data lane got a ticket just now
BEGIN
  PERFORM need_values(num_nulls(p_pool, p_most), 'dispatch_pick');
  IF (SELECT paused FROM pool WHERE no = p_pool) THEN
    RETURN;
  END IF;
  FOR j IN SELECT * FROM job x WHERE x.pool = p_pool AND x.state = 'pending' AND x.run_at <= clock_timestamp()
             AND (x.start_by IS NULL OR x.start_by > clock_timestamp())
           ORDER BY x.priority + extract(epoch FROM clock_timestamp() - x.run_at) / greatest(setting_of('aging_s'), 1) DESC, x.run_at, x.id
           LIMIT least(p_most * 4 + 100, 5000) FOR UPDATE SKIP LOCKED LOOP
    EXIT WHEN picked >= p_most;
    IF j.lanes <> 0 THEN
      IF j.source = ANY (sent) THEN
        CONTINUE; -- the one before it goes first
      END IF;
      SELECT o.id INTO busy FROM job o WHERE o.source = j.source AND o.state IN ('running', 'queued') AND o.lanes & j.lanes <> 0 LIMIT 1;
      IF busy IS NOT NULL THEN
        PERFORM decide_seldom(j, 'deferred', 'lane.busy', format('job %s has the source', busy));
        CONTINUE;
      END IF;
    END IF;
    SELECT min(s) INTO full_scope FROM unnest(job_scopes(j)) s
      WHERE NOT EXISTS (SELECT FROM limit_slot l WHERE l.scope = s AND l.job IS NULL);
    IF full_scope IS NOT NULL THEN
      PERFORM decide_seldom(j, 'deferred', 'limit.full', format('limit %s is reached', full_scope));
      CONTINUE;
    END IF;
    need := concat_ws('|', j.kind, j.source, j.repository, j.params ->> 'probe', j.params ->> 'level', md5(j.params::text));
    IF NOT asked ? need THEN
      asked := asked || jsonb_build_object(need, job_nobody(j));
    END IF;
    held := asked ->> need;
    IF held IS NOT NULL THEN
      PERFORM decide_seldom(j, 'held', 'no_worker', held);
      CONTINUE;
    END IF;
    UPDATE job SET state = 'queued', queued_at = clock_timestamp() WHERE id = j.id;
    picked := picked + 1;
    IF j.lanes <> 0 THEN
      sent := sent || j.source;
    END IF;
    RETURN QUERY SELECT j.id, j.dispatch, j.kind, j.priority >= 50;
  END LOOP;
END $$;

CREATE FUNCTION requeue(p_pool int, p_all boolean) RETURNS TABLE (job bigint, dispatch bigint, kind text, urgent boolean)
  LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
BEGIN
  UPDATE job SET state = 'pending', queued_at = NULL, dispatch = dispatch + 1 WHERE id IN (
    SELECT x.id FROM job x WHERE x.pool = p_pool AND x.state = 'queued'
      AND x.queued_at < clock_timestamp() - make_interval(secs => setting_of('requeue_force_s')) ORDER BY x.id FOR UPDATE SKIP LOCKED);
  RETURN QUERY SELECT x.id, x.dispatch, x.kind, x.priority >= 50 FROM job x WHERE x.pool = p_pool AND x.state = 'queued'
    AND (p_all OR x.queued_at < clock_timestamp() - make_interval(secs => setting_of('requeue_s'))) ORDER BY x.queued_at LIMIT 10000;
END $$;

-- One pass. The first row (job 0) says how the pass went; then one row a lost attempt. A lease is
-- looked at twice, and tested again under its lock; one that is locked is being renewed.
CREATE FUNCTION reap() RETURNS TABLE (job bigint, attempt bigint, instance uuid, state text, suspects int, grace boolean, mass boolean)
  LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  keeper reaper;
  l lease;
  j job;
  expired int;
  alive int;
  looked int := 0;
  ended text;
BEGIN
  PERFORM need_read_committed();
  SELECT * INTO keeper FROM reaper FOR UPDATE SKIP LOCKED;
  IF NOT FOUND THEN
    RETURN QUERY SELECT 0::bigint, 0::bigint, NULL::uuid, '', 0, false, false; -- another scheduler is at it
    RETURN;
  END IF;
  IF clock_timestamp() < greatest(keeper.hold_until, pg_postmaster_start_time() + make_interval(secs => setting_of('grace_s'))) THEN
    RETURN QUERY SELECT 0::bigint, 0::bigint, NULL::uuid, '', 0, true, false;
    RETURN;
  END IF;
  SELECT count(*) FILTER (WHERE expires_at <= clock_timestamp()), count(*) INTO expired, alive FROM lease;
  IF alive >= setting_of('mass_leases') AND expired > alive * setting_of('mass_share') THEN
    UPDATE reaper SET mass_since = coalesce(mass_since, clock_timestamp()) RETURNING * INTO keeper;
    IF clock_timestamp() < keeper.mass_since + make_interval(secs => setting_of('mass_wait_s')) THEN
      RETURN QUERY SELECT 0::bigint, 0::bigint, NULL::uuid, '', expired, false, true;
      RETURN;
    END IF;
  ELSIF keeper.mass_since IS NOT NULL THEN
    UPDATE reaper SET mass_since = NULL;
  END IF;
  FOR l IN SELECT * FROM lease WHERE expires_at <= clock_timestamp() ORDER BY job LOOP
    IF l.suspect_expires IS DISTINCT FROM l.expires_at THEN
      UPDATE lease SET suspect_at = clock_timestamp(), suspect_expires = expires_at WHERE job IN (
        SELECT x.job FROM lease x WHERE x.job = l.job AND x.attempt = l.attempt AND x.expires_at = l.expires_at FOR UPDATE SKIP LOCKED);
      looked := looked + 1;
    ELSIF clock_timestamp() < l.suspect_at + make_interval(secs => setting_of('looks_s')) THEN
      looked := looked + 1;
    ELSE
      SELECT * INTO j FROM job x WHERE x.id = l.job AND x.state = 'running' AND x.attempt = l.attempt FOR UPDATE SKIP LOCKED;
      CONTINUE WHEN NOT FOUND;
      PERFORM FROM lease x WHERE x.job = l.job AND x.attempt = l.attempt AND x.expires_at = l.expires_at
        AND x.expires_at <= clock_timestamp() FOR UPDATE SKIP LOCKED;
      CONTINUE WHEN NOT FOUND; -- renewed between the two looks and now
      ended := job_end(j, 'lost', 'unreachable', 'worker.lost',
        format('worker %s was not heard of since %s', (SELECT name FROM worker WHERE no = l.worker),
               to_char(l.beat_at AT TIME ZONE 'UTC', 'HH24:MI:SS"Z"')), true);
      RETURN QUERY SELECT j.id, l.attempt, l.instance, ended, 0, false, false;
    END IF;
  END LOOP;
  RETURN QUERY SELECT 0::bigint, 0::bigint, NULL::uuid, '', looked, false, false;
END $$;

CREATE FUNCTION leader_take(p_holder uuid, p_host text) RETURNS bigint LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  my_term bigint;
  until timestamptz := clock_timestamp() + make_interval(secs => setting_of('leader_s'));
BEGIN
  PERFORM need_values(num_nulls(p_holder, p_host), 'leader_take');
  INSERT INTO leader AS l VALUES ('scheduler', p_holder, p_host, 1, until)
    ON CONFLICT (name) DO UPDATE SET holder = p_holder, host = p_host, expires_at = until,
      term = l.term + (l.holder IS DISTINCT FROM p_holder)::int
    WHERE l.holder = p_holder OR l.expires_at <= clock_timestamp() RETURNING term INTO my_term;
  RETURN coalesce(my_term, 0);
END $$;

CREATE FUNCTION housekeep() RETURNS void LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  old timestamptz := clock_timestamp() - make_interval(days => setting_of('log_days')::int);
BEGIN
  DELETE FROM job_answer WHERE expires_at <= clock_timestamp();
  DELETE FROM idempotency WHERE created_at < clock_timestamp() - interval '24 hours';
  DELETE FROM event WHERE at < clock_timestamp() - interval '1 day';
  DELETE FROM job_log WHERE at < old;
  UPDATE worker_instance SET bye_at = clock_timestamp() WHERE bye_at IS NULL AND seen_at < clock_timestamp() - interval '1 hour'
    AND NOT EXISTS (SELECT FROM lease l WHERE l.instance = worker_instance.id);
  DELETE FROM limit_slot USING limit_wanted w WHERE limit_slot.scope = w.scope AND limit_slot.n > w.n AND limit_slot.job IS NULL;
END $$;
