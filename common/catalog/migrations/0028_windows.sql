-- Windows are acted on. The leading scheduler, which knows zones, says of each source and method whether a
-- window is open, how long that stays so, and what becomes of a run at the close. The rest is decided here:
-- what is due outside waits for the opening, its ticket is void, a run that must not go on is asked to stop,
-- and no claim is granted while a window is shut, whoever is away. What is urgent (trigger emergency) passes.
CREATE TABLE source_window (
  source  int REFERENCES source,
  method  text,                                                  -- '' of an engine that has none
  open    boolean NOT NULL,
  since   timestamptz NOT NULL,                                  -- earlier, by a clock that was set back, and
  until   timestamptz NOT NULL,                                  -- later nothing starts before a scheduler looked again
  cancels boolean NOT NULL,                                      -- shut: a run that is not through is asked to stop
  words   text NOT NULL,
  PRIMARY KEY (source, method));

-- Another number when another policy is in force, also when it has the number of one that a failover lost.
CREATE FUNCTION policy_mark() RETURNS bigint LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT coalesce((SELECT hashtextextended(concat_ws(' ', no, digest, extract(epoch FROM applied_at)), 0) & 9223372036854775807
                   FROM policy_version ORDER BY no DESC LIMIT 1), 0) $$;

-- Why this job must not start now, as one line; NULL: it may.
CREATE FUNCTION job_shut(j job) RETURNS text LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT w.words FROM source_window w JOIN source s ON s.no = w.source
  WHERE w.source = j.source AND j.kind = 'backup' AND j.trigger <> 'emergency'
    AND w.method = coalesce(j.params ->> 'method', s.spec ->> 'method', '') AND (NOT w.open OR w.until <= clock_timestamp() OR w.since > clock_timestamp()) $$;

-- The rows that are true now; p_all: and no others are. Whoever waited for an opening that is not the one
-- any more waits no longer; the next look says what for instead. False: they are of a policy (p_mark) that
-- is not in force, and were not taken.
CREATE FUNCTION windows_keep(p_mark bigint, p_sources int[], p_methods text[], p_opens boolean[], p_sinces timestamptz[], p_untils timestamptz[],
    p_cancels boolean[], p_words text[], p_all boolean) RETURNS boolean LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
BEGIN
  PERFORM need_values(num_nulls(p_mark, p_sources, p_methods, p_opens, p_sinces, p_untils, p_cancels, p_words, p_all), 'windows_keep');
  PERFORM pg_advisory_xact_lock(hashtext('holdfast.windows'));
  IF p_mark IS DISTINCT FROM policy_mark() THEN
    RETURN false;
  END IF;
  UPDATE job SET run_at = clock_timestamp() WHERE id IN (
    SELECT j.id FROM source_window w
      LEFT JOIN unnest(p_sources, p_methods, p_opens, p_untils) AS u(source, method, open, until) ON u.source = w.source AND u.method = w.method
      JOIN job j ON j.source = w.source AND j.kind = 'backup' AND j.state = 'pending' AND j.run_at = w.until
    WHERE NOT w.open AND w.until > clock_timestamp() AND CASE WHEN u.source IS NULL THEN p_all ELSE u.open OR u.until <> w.until END
    ORDER BY j.id FOR UPDATE OF j SKIP LOCKED);
  DELETE FROM source_window w WHERE p_all
    AND NOT EXISTS (SELECT FROM unnest(p_sources, p_methods) AS u(source, method) WHERE u.source = w.source AND u.method = w.method);
  INSERT INTO source_window AS w (source, method, open, since, until, cancels, words)
    SELECT u.source, u.method, u.open, u.since, u.until, u.cancels, left(u.words, 400)
    FROM unnest(p_sources, p_methods, p_opens, p_sinces, p_untils, p_cancels, p_words)
      AS u(source, method, open, since, until, cancels, words)
    ON CONFLICT (source, method) DO UPDATE SET open = excluded.open, since = excluded.since, until = excluded.until,
      cancels = excluded.cancels, words = excluded.words;
  RETURN true;
END $$;

-- One look. A row whose time is over says nothing: the scheduler that asks knows better in a moment.
CREATE FUNCTION windows_act() RETURNS TABLE (now_is timestamptz, mark bigint, put_off int, stopped int)
  LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  r record;
  j job;
  off int := 0;
  stops int := 0;
BEGIN
  FOR r IN SELECT x AS of_job, w.until AS opens, w.words FROM source_window w JOIN source s ON s.no = w.source
             JOIN job x ON x.source = w.source AND x.kind = 'backup' AND x.trigger <> 'emergency'
               AND w.method = coalesce(x.params ->> 'method', s.spec ->> 'method', '')
           WHERE NOT w.open AND w.until > clock_timestamp()
             AND ((x.state = 'pending' AND x.run_at <= clock_timestamp()) OR x.state = 'queued'
                  OR (w.cancels AND x.state = 'running' AND NOT x.cancel_requested))
           ORDER BY x.id FOR UPDATE OF x SKIP LOCKED LOOP
    j := r.of_job;
    IF j.state = 'running' THEN
      UPDATE job SET cancel_requested = true WHERE id = j.id;
      PERFORM decide(j, 'cancelled', 'window.cancel', r.words || '; its policy says on_close: cancel');
      stops := stops + 1;
    ELSE
      UPDATE job SET state = 'pending', queued_at = NULL, dispatch = dispatch + 1, deferrals = deferrals + 1, run_at = r.opens
        WHERE id = j.id;
      PERFORM decide(j, 'deferred', 'window.closed', r.words || CASE WHEN j.start_by <= r.opens THEN format('; its start deadline, %s, passes before',
        to_char(j.start_by AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS"Z"')) ELSE '' END);
      off := off + 1;
    END IF;
  END LOOP;
  RETURN QUERY SELECT clock_timestamp(), policy_mark(), off, stops;
END $$;

-- What waits too long says for what it waited.
CREATE OR REPLACE FUNCTION jobs_overdue() RETURNS int LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job;
  ended int := 0;
BEGIN
  FOR j IN SELECT * FROM job WHERE state IN ('pending', 'queued') AND start_by <= clock_timestamp() ORDER BY id LIMIT 1000
           FOR UPDATE SKIP LOCKED LOOP
    UPDATE job SET state = 'missed', finished_at = clock_timestamp(), queued_at = NULL, dispatch = dispatch + 1 WHERE id = j.id;
    PERFORM decide(j, 'missed', 'start_deadline', format('did not start before %s%s',
      to_char(j.start_by AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS"Z"'),
      coalesce((SELECT '; it waited: ' || d.text FROM decision d WHERE d.job = j.id AND d.verdict IN ('deferred', 'held')
                ORDER BY d.last_at DESC, d.id DESC LIMIT 1), '')));
    ended := ended + 1;
  END LOOP;
  RETURN ended;
END $$;

-- As before, and not outside of its window.
CREATE OR REPLACE FUNCTION job_claim(p_instance uuid, p_job bigint, p_dispatch bigint, p_claim uuid)
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
  lacks := job_shut(j);
  IF lacks IS NOT NULL THEN
    RETURN QUERY SELECT 'stale', 0::bigint, NULL::text, lacks; -- the scheduler puts it off at its next look
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
    SELECT format('%s (%s) is running', job_text(o.id), o.kind) INTO held_by FROM job o
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

REVOKE ALL ON FUNCTION policy_mark, job_shut, windows_keep, windows_act FROM PUBLIC;
GRANT SELECT, INSERT, UPDATE, DELETE ON source_window TO holdfast_scheduler;
GRANT EXECUTE ON FUNCTION policy_mark, job_shut, windows_keep, windows_act TO holdfast_scheduler;
