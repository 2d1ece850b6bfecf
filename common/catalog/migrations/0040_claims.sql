-- What a claim and a commit cost is the number of their statements: each is begun and ended for itself, and one
-- that changes a job looks at a dozen indexes and as many constraints before it starts. So the tickets that a
-- worker took together are claimed as a set, and what belongs together is one statement. A plan that is made
-- once serves whatever comes: nothing here is found but by its key.

-- The answer to a claim, read at once.
CREATE OR REPLACE FUNCTION job_order_one(j job) RETURNS jsonb LANGUAGE plpgsql STABLE SET search_path = holdfast, pg_temp
  SET plan_cache_mode = force_generic_plan AS $$
BEGIN
  RETURN (SELECT jsonb_build_object('v', 1, 'job', j.id, 'attempt', j.attempt, 'kind', j.kind, 'trigger', j.trigger,
      'lease_s', setting_of('lease_s'), 'beat_s', setting_of('beat_s'),
      'source', CASE WHEN s.no IS NOT NULL THEN
         jsonb_build_object('no', s.no, 'name', s.name, 'type', s.type, 'config', coalesce(s.spec -> 'config', '{}')) END,
      'policy', jsonb_build_object('name', s.policy, 'timeout_s', s.spec -> 'timeout_s', 'stall_s', s.spec -> 'stall_s',
         'rate', job_rate(j, coalesce((s.spec ->> 'rate')::bigint, 0)), 'dedup', coalesce(s.spec -> 'dedup', '"source"'),
         'compression', s.spec -> 'compression', 'allow_partial', s.spec -> 'allow_partial', 'hooks', s.spec -> 'hooks'),
      'repository', CASE WHEN r.no IS NOT NULL THEN
         jsonb_build_object('no', r.no, 'id', r.id, 'key_set', nullif(r.key_set, ''), 'base_epoch', r.gc_epoch,
           'store', jsonb_build_object('name', st.name) || st.config) END,
      'parent', CASE WHEN j.kind = 'backup' AND parent.id IS NOT NULL THEN
         jsonb_build_object('backup', parent.id, 'sequence', parent.sequence,
           'manifest_sha256', encode(parent.manifest_sha256, 'hex')) END,
      'last', CASE WHEN last_one.committed_at IS NOT NULL THEN
         jsonb_build_object('bytes', last_one.bytes, 'stored', last_one.stored_bytes,
           'seconds', round(extract(epoch FROM last_one.committed_at - last_one.started_at))) END,
      'params', j.params, 'schedule', j.schedule, 'slot', CASE WHEN j.slot IS NOT NULL THEN rfc3339(j.slot) END)
    FROM (SELECT) one
      LEFT JOIN source s ON s.no = j.source
      LEFT JOIN repository r ON r.no = j.repository
      LEFT JOIN store st ON st.name = r.store
      LEFT JOIN LATERAL (SELECT b.id, b.sequence, b.manifest_sha256 FROM backup b
        WHERE b.source = j.source AND b.repository = j.repository ORDER BY b.sequence DESC LIMIT 1) parent ON true
      LEFT JOIN LATERAL (SELECT b.bytes, b.stored_bytes, b.started_at, b.committed_at FROM backup b
        WHERE b.source = j.source ORDER BY b.committed_at DESC LIMIT 1) last_one ON true);
END $$;

-- These jobs run from now on: the caller has their rows locked and knows that they may. unique_violation: the
-- lane of one of them is busy.
CREATE FUNCTION jobs_start(p_instance uuid, p_worker int, p_name text, p_jobs bigint[], p_claims uuid[]) RETURNS void
  LANGUAGE plpgsql AS $$
BEGIN
  WITH runs AS (
      UPDATE holdfast.job j SET state = 'running', attempt = j.attempt + 1, claim = u.claim, queued_at = NULL,
        repository = CASE WHEN j.kind = 'backup' THEN (SELECT s.repository FROM holdfast.source s WHERE s.no = j.source) ELSE j.repository END
      FROM unnest(p_jobs, p_claims) u(id, claim) WHERE j.id = u.id
      RETURNING j.id, j.attempt, j.claim, j.kind, j.source, j.schedule, j.slot, j.repository),
    tried AS (
      INSERT INTO holdfast.job_attempt(job, attempt, claim, worker, instance) SELECT r.id, r.attempt, r.claim, p_worker, p_instance FROM runs r),
    leased AS (
      INSERT INTO holdfast.lease(job, attempt, worker, instance, expires_at, beat_at, moved_at)
        SELECT r.id, r.attempt, p_worker, p_instance, clock_timestamp() + make_interval(secs => holdfast.setting_of('lease_s')),
          clock_timestamp(), clock_timestamp() FROM runs r),
    opened AS (
      INSERT INTO holdfast.session(job, attempt, repository, writes, base_epoch)
        SELECT r.id, r.attempt, x.no, r.kind IN ('backup', 'copy'), x.gc_epoch FROM runs r JOIN holdfast.repository x ON x.no = r.repository)
  INSERT INTO holdfast.decision(source, schedule, slot, job, verdict, code, text)
    SELECT r.source, r.schedule, r.slot, r.id, 'ran', 'claimed', format('attempt %s on %s', r.attempt, p_name) FROM runs r
    ON CONFLICT (job, code) WHERE job IS NOT NULL
    DO UPDATE SET count = decision.count + 1, last_at = clock_timestamp(), text = excluded.text, verdict = excluded.verdict;
END $$;

-- As job_claim was for each of them, in the order of their numbers, so that two workers that claim the same jobs
-- do not wait for each other. n: the place in the arguments.
CREATE FUNCTION job_claims(p_instance uuid, p_jobs bigint[], p_dispatches bigint[], p_claims uuid[])
  RETURNS TABLE (n bigint, status text, attempt bigint, job_order text, missing text)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
  me worker;
  facts jsonb;
  x record;
  one job;
  held_by text;
  wanted text;
  free int;
  lacks text;
  need text;                                       -- that lacks is of
  ids bigint[] := '{}'; claims uuid[] := '{}'; ns bigint[] := '{}';
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    PERFORM need_read_committed();
  END IF;
  SELECT w AS row, i.facts INTO x FROM worker w
    LEFT JOIN worker_instance i ON i.id = p_instance AND i.worker = w.no AND i.bye_at IS NULL
    WHERE w.role_name = session_user AND w.retired_at IS NULL;
  me := coalesce(x.row, worker_me());
  facts := x.facts;
  IF num_nulls(p_instance, p_jobs, p_dispatches, p_claims) > 0 OR array_position(p_jobs, NULL) > 0
     OR array_position(p_dispatches, NULL) > 0 OR array_position(p_claims, NULL) > 0 THEN
    PERFORM need_values(1, 'job_claim');
  END IF;
  IF facts IS NULL THEN
    RAISE EXCEPTION 'this worker did not say hello as instance %', p_instance USING ERRCODE = 'HF005', DETAIL = 'worker.other_instance';
  END IF;
  PERFORM FROM job WHERE id = ANY (p_jobs) ORDER BY id FOR UPDATE;
  FOR x IN
    SELECT u.n, u.id, u.claim, j AS row, s.need,
      CASE WHEN j.id IS NULL OR NOT worker_serves(me, j.pool, j.source) THEN 'no such job for this worker' -- says no more to a stranger
           WHEN j.state = 'running' AND j.claim = u.claim AND EXISTS (
             SELECT FROM lease l WHERE l.job = j.id AND l.attempt = j.attempt AND l.instance = p_instance) THEN ''
           WHEN j.state NOT IN ('pending', 'queued') OR j.dispatch IS DISTINCT FROM u.dispatch OR j.cancel_requested
             OR j.run_at > clock_timestamp() OR j.start_by <= clock_timestamp() THEN
             format('job is %s, dispatch %s', j.state, CASE WHEN j.dispatch = u.dispatch THEN 'current' ELSE 'old' END) END AS stale,
      CASE WHEN me.drain THEN 'worker drains' WHEN p.paused THEN 'pool is paused' END AS paused,
      CASE WHEN EXISTS (SELECT FROM source_window w WHERE w.source = j.source) THEN job_shut(j) END AS shut,
      CASE WHEN EXISTS (SELECT FROM limit_slot) THEN job_scopes(j) ELSE '{}' END AS scopes
    FROM unnest(p_jobs, p_dispatches, p_claims) WITH ORDINALITY AS u(id, dispatch, claim, n)
      LEFT JOIN job j ON j.id = u.id LEFT JOIN pool p ON p.no = j.pool LEFT JOIN source s ON s.no = j.source AND j.kind = 'backup'
    ORDER BY u.id, u.n
  LOOP
    IF x.stale = '' THEN
      RETURN QUERY SELECT x.n, 'granted', j.attempt, job_order(j)::text, NULL::text FROM job j WHERE j.id = x.id; -- the first answer was lost
      CONTINUE;
    ELSIF x.stale IS NOT NULL OR x.id = ANY (ids) THEN
      RETURN QUERY SELECT x.n, 'stale', 0::bigint, NULL::text, coalesce(x.stale, 'job is running, dispatch current');
      CONTINUE;
    ELSIF x.paused IS NOT NULL THEN
      RETURN QUERY SELECT x.n, 'paused', 0::bigint, NULL::text, x.paused;
      CONTINUE;
    ELSIF x.shut IS NOT NULL THEN
      RETURN QUERY SELECT x.n, 'stale', 0::bigint, NULL::text, x.shut; -- the scheduler puts it off at its next look
      CONTINUE;
    END IF;
    IF x.need IS NULL OR x.need IS DISTINCT FROM need THEN -- whoever backs up the one can do the other
      one := x.row;
      lacks := job_missing(one, facts, me.reader);
      need := x.need;
    END IF;
    IF lacks IS NOT NULL THEN
      RETURN QUERY SELECT x.n, 'unfit', 0::bigint, NULL::text, lacks;
      CONTINUE;
    END IF;
    free := 0;
    FOREACH wanted IN ARRAY x.scopes LOOP
      SELECT l.n INTO free FROM limit_slot l WHERE l.scope = wanted AND l.job IS NULL ORDER BY l.n LIMIT 1 FOR UPDATE SKIP LOCKED;
      EXIT WHEN free IS NULL;
      UPDATE limit_slot l SET job = x.id, attempt = (x.row).attempt + 1 WHERE l.scope = wanted AND l.n = free;
    END LOOP;
    IF free IS NULL THEN
      one := x.row;
      UPDATE limit_slot l SET job = NULL, attempt = NULL WHERE l.job = x.id; -- those taken a moment ago
      PERFORM job_defer(one, 'limit.full', format('limit %s is reached', wanted));
      RETURN QUERY SELECT x.n, 'full', 0::bigint, NULL::text, format('limit %s is reached', wanted);
      CONTINUE;
    END IF;
    ids := ids || x.id; claims := claims || x.claim; ns := ns || x.n;
  END LOOP;
  IF cardinality(ids) = 0 THEN
    RETURN;
  END IF;
  BEGIN
    PERFORM jobs_start(p_instance, me.no, me.name, ids, claims);
  EXCEPTION WHEN unique_violation THEN -- the lane of one of them is busy
    FOR k IN 1 .. cardinality(ids) LOOP
      BEGIN
        PERFORM jobs_start(p_instance, me.no, me.name, ids[k : k], claims[k : k]);
      EXCEPTION WHEN unique_violation THEN
        SELECT * INTO one FROM job WHERE id = ids[k];
        UPDATE limit_slot l SET job = NULL, attempt = NULL WHERE l.job = one.id;
        SELECT format('%s (%s) is running', job_text(o.id), o.kind) INTO held_by FROM job o
          WHERE o.source = one.source AND o.state = 'running' AND o.lanes & one.lanes <> 0 LIMIT 1;
        PERFORM job_defer(one, 'lane.busy', coalesce(held_by, 'the source was busy'));
        RETURN QUERY SELECT ns[k], 'busy', 0::bigint, NULL::text, coalesce(held_by, 'the source was busy');
      END;
    END LOOP;
  END;
  RETURN QUERY SELECT u.n, 'granted', j.attempt, job_order(j)::text, NULL::text
    FROM unnest(ids, claims, ns) u(id, claim, n) JOIN job j ON j.id = u.id AND j.claim = u.claim;
END $$;

CREATE OR REPLACE FUNCTION job_claim(p_instance uuid, p_job bigint, p_dispatch bigint, p_claim uuid)
  RETURNS TABLE (status text, attempt bigint, job_order text, missing text)
  LANGUAGE sql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
  SELECT c.status, c.attempt, c.job_order, c.missing
  FROM job_claims(p_instance, ARRAY[p_job], ARRAY[p_dispatch], ARRAY[p_claim]) c $$;
GRANT EXECUTE ON FUNCTION job_claims TO holdfast_worker;

-- As before. What is known already is only read: nothing to write, and so no commit to wait for.
ALTER FUNCTION repository_bind RENAME TO repository_bind_first;
CREATE FUNCTION repository_bind(p_job bigint, p_attempt bigint, p_claim uuid, p_id uuid)
  RETURNS TABLE (gc_epoch bigint, confirmed_epoch bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY SELECT r.gc_epoch, r.confirmed_epoch FROM worker w JOIN lease l ON l.worker = w.no AND l.job = p_job AND l.attempt = p_attempt
    JOIN job j ON j.id = p_job AND j.state = 'running' AND j.attempt = p_attempt AND j.claim = p_claim
    JOIN session x ON x.job = p_job AND x.attempt = p_attempt AND x.repository = j.repository AND x.state = 'open'
    JOIN repository r ON r.no = x.repository AND r.id = p_id
    WHERE w.role_name = session_user AND w.retired_at IS NULL;
  IF NOT FOUND THEN
    RETURN QUERY SELECT b.gc_epoch, b.confirmed_epoch FROM repository_bind_first(p_job, p_attempt, p_claim, p_id) b;
  END IF;
END $$;
REVOKE ALL ON FUNCTION repository_bind_first FROM holdfast_worker;
GRANT EXECUTE ON FUNCTION repository_bind TO holdfast_worker;

-- As before, in two statements: what an attempt held, and its end.
CREATE OR REPLACE FUNCTION attempt_end(j job, p_outcome text, p_code text, p_cause text, p_text text) RETURNS void LANGUAGE plpgsql
  SET search_path = holdfast, pg_temp AS $$
BEGIN
  IF EXISTS (SELECT FROM limit_slot s WHERE s.job = j.id) THEN
    DELETE FROM limit_slot USING limit_wanted w -- the limit was lowered while it ran
      WHERE limit_slot.job = j.id AND limit_slot.scope = w.scope AND limit_slot.n > w.n;
    UPDATE limit_slot SET job = NULL, attempt = NULL WHERE job = j.id AND attempt = j.attempt;
  END IF;
  WITH let_go AS (DELETE FROM lease WHERE job = j.id AND attempt = j.attempt RETURNING *),
    closed AS (
      UPDATE session SET state = CASE WHEN p_outcome IN ('completed', 'partial') AND writes THEN 'committed' ELSE 'closed' END,
        closed_at = clock_timestamp() WHERE job = j.id AND attempt = j.attempt AND state = 'open')
  UPDATE job_attempt a SET ended_at = clock_timestamp(), outcome = p_outcome, code = p_code, cause = p_cause, error = p_text,
    bytes_done = l.bytes_done, stored = l.stored, items_done = l.items_done, errors = l.errors
    FROM (SELECT) one LEFT JOIN let_go l ON true WHERE a.job = j.id AND a.attempt = j.attempt AND a.outcome IS NULL;
END $$;

ALTER FUNCTION rfc3339 RESET search_path; -- it names no table; so it is taken into the statement around it

-- As before; what is asked of packs and items is asked where there are some.
CREATE OR REPLACE FUNCTION backup_commit(p_job bigint, p_attempt bigint, p_claim uuid, p_id uuid, p_manifest_sha256 bytea, p_index_object uuid,
    p_index_sha256 bytea, p_sequence bigint, p_consistent timestamptz, p_position text, p_receipt jsonb, p_partial boolean,
    p_stored_verified boolean, p_entries bigint, p_bytes bigint, p_stored_bytes bigint, p_new_bytes bigint, p_packs bigint[],
    p_issues jsonb, p_issue_count bigint, p_item_kinds text[], p_item_names text[], p_item_entries bigint[], p_item_rows bigint[],
    p_item_bytes bigint[]) RETURNS TABLE (answer text, detail text)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
  me int;
  j job;
  s int;                                           -- the repository of its session
  domains int[];
  bad text;
  last_one uuid;
  last_sequence bigint;
  back timestamptz;
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    PERFORM need_read_committed(); -- an older snapshot would defeat lock-then-test
  END IF;
  SELECT w.no INTO me FROM worker w WHERE w.role_name = session_user AND w.retired_at IS NULL;
  IF me IS NULL THEN
    PERFORM worker_me();
  END IF;
  IF num_nulls(p_job, p_attempt, p_claim, p_id, p_manifest_sha256, p_index_object, p_index_sha256, p_sequence,
       p_consistent, p_partial, p_stored_verified, p_packs) > 0 THEN
    PERFORM need_values(1, 'backup_commit');
  END IF;
  -- Whoever notices that the store was set back waits for this commit, or this one sees what was noticed.
  SELECT r.no, r.set_back_at INTO s, back FROM session x JOIN repository r ON r.no = x.repository
    WHERE x.job = p_job AND x.attempt = p_attempt AND x.state = 'open' FOR SHARE OF r;
  SELECT * INTO j FROM job WHERE id = p_job FOR UPDATE;
  IF j.id IS NULL OR j.state IS DISTINCT FROM 'running' OR j.attempt IS DISTINCT FROM p_attempt OR j.claim IS DISTINCT FROM p_claim
     OR NOT EXISTS (SELECT FROM lease l WHERE l.job = p_job AND l.attempt = p_attempt AND l.worker = me) THEN
    IF EXISTS (SELECT FROM backup b JOIN job_attempt a ON a.job = b.job AND a.attempt = b.attempt
               WHERE b.id = p_id AND b.job = p_job AND b.attempt = p_attempt AND a.worker = me
                 AND a.claim IS NOT DISTINCT FROM p_claim AND b.manifest_sha256 IS NOT DISTINCT FROM p_manifest_sha256) THEN
      RETURN QUERY SELECT 'already', ''; -- the answer to "the connection died at COMMIT"
    ELSE
      RETURN QUERY SELECT 'fenced', '';
    END IF;
    RETURN;
  END IF;
  IF j.kind IS DISTINCT FROM 'backup' THEN
    RAISE EXCEPTION 'a % job commits no backup', j.kind USING ERRCODE = 'HF004', DETAIL = 'job.kind';
  END IF;
  IF s IS NULL THEN
    PERFORM fence_session(p_job, p_attempt); -- whoever holds the job has closed no session meanwhile
  END IF;
  PERFORM pg_advisory_xact_lock_shared(hashtextextended('holdfast.flip', s)); -- many committers, one flip
  IF cardinality(p_packs) > 0 THEN
    domains := job_domains(j);
    -- Only rows that will change are locked, in one order; a live pack that is condemned meanwhile is
    -- pardoned by the flip, which sees this commit.
    PERFORM FROM pack p WHERE p.no = ANY (p_packs) AND p.state <> 'live' ORDER BY p.no FOR NO KEY UPDATE;
    SELECT string_agg(x.no::text, ' ' ORDER BY x.no) FILTER (WHERE x.n <= 8) INTO bad
      FROM (SELECT u.no, row_number() OVER (ORDER BY u.no) AS n FROM unnest(p_packs) AS u(no)
            LEFT JOIN pack p ON p.no = u.no AND p.repository = s
            WHERE p.no IS NULL OR p.damaged_at IS NOT NULL OR p.sha256 IS NULL OR p.state IN ('deleting', 'deleted')
               OR (p.state = 'staged' AND (p.job, p.attempt) IS DISTINCT FROM (p_job, p_attempt))
               OR (p.state IN ('live', 'condemned') AND p.verified_at IS NULL AND NOT p.domain = ANY (domains))
               OR (p.state <> 'staged' AND p.begun_at <= back AND (p.verified_at IS NULL OR p.verified_at <= back))) x;
    IF bad IS NOT NULL THEN
      RETURN QUERY SELECT 'damaged', left(bad, 240);
      RETURN;
    END IF;
  END IF;
  SELECT b.id, b.sequence INTO last_one, last_sequence FROM backup b WHERE b.source = j.source AND b.repository = s
    ORDER BY b.sequence DESC LIMIT 1;
  IF p_sequence IS DISTINCT FROM coalesce(last_sequence, 0) + 1 THEN
    RAISE EXCEPTION 'backup has sequence %, its source is at %', p_sequence, coalesce(last_sequence, 0) USING ERRCODE = 'HF003', DETAIL = 'backup.sequence';
  END IF;
  IF cardinality(p_packs) > 0 THEN
    UPDATE pack SET state = 'live', condemned_epoch = NULL WHERE no = ANY (p_packs) AND state IN ('staged', 'condemned');
  END IF;
  INSERT INTO backup(id, job, attempt, source, schedule, slot, policy, repository, key_set, sequence, parent, outcome, manifest_sha256,
      index_object, index_sha256, consistent_at, position, receipt, started_at, entries, bytes, stored_bytes, new_bytes, issues,
      issue_count, packs)
    SELECT p_id, p_job, p_attempt, j.source, j.schedule, j.slot, src.policy, r.no, r.key_set, p_sequence,
      last_one,
      CASE WHEN p_partial THEN 'partial' ELSE 'completed' END, p_manifest_sha256, p_index_object, p_index_sha256, p_consistent,
      coalesce(p_position, ''), coalesce(p_receipt, '{}'), a.started_at, p_entries, p_bytes, p_stored_bytes, p_new_bytes,
      coalesce(p_issues, '[]'), coalesce(p_issue_count, 0), array(SELECT DISTINCT u FROM unnest(p_packs) u ORDER BY u)
    FROM source src, repository r, job_attempt a
    WHERE src.no = j.source AND r.no = s AND a.job = p_job AND a.attempt = p_attempt;
  IF cardinality(p_item_names) > 0 THEN
    INSERT INTO backup_item(backup, n, kind, name, entries, rows, bytes)
      SELECT p_id, x.n, x.kind, x.name, x.entries, x.rows, x.bytes
      FROM unnest(p_item_kinds, p_item_names, p_item_entries, p_item_rows, p_item_bytes)
           WITH ORDINALITY AS x(kind, name, entries, rows, bytes, n);
  END IF;
  IF p_stored_verified THEN
    INSERT INTO verification(backup, job, level, result, started_at, worker) VALUES (p_id, p_job, 'stored', 'ok', clock_timestamp(), me);
  END IF;
  PERFORM attempt_end(j, CASE WHEN p_partial THEN 'partial' ELSE 'completed' END, NULL, NULL, NULL);
  UPDATE job SET state = CASE WHEN p_partial THEN 'partial' ELSE 'completed' END, claim = NULL, repository = s,
    finished_at = clock_timestamp() WHERE id = p_job;
  RETURN QUERY SELECT 'ok', '';
END $$;
