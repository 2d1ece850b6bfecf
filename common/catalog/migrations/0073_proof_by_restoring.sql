-- Proof by restoring: a verify job of level `restore` or `query` restores one backup into a sandbox and compares. Its row
-- of verifications is the ledger of all engines: what was restored, in how many seconds, what was compared, by whom and in
-- which server. One that took longer than a sandbox gives it is `too_late`, which says nothing of the backup.
ALTER TABLE verification DROP CONSTRAINT verification_result_check,
  ADD CONSTRAINT verification_result_check CHECK (result IN ('ok', 'failed', 'inconclusive', 'too_late'));

CREATE FUNCTION proves(p_params jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE SET search_path = holdfast, pg_temp AS $$
  SELECT coalesce(p_params ->> 'level' IN ('restore', 'query'), false) $$;

-- As before; and a proof counts only of a login that may read, and as what it was asked for.
CREATE OR REPLACE FUNCTION verification_add(p_job bigint, p_attempt bigint, p_claim uuid, p_backup uuid, p_level text, p_result text,
    p_started timestamptz, p_checks jsonb) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  me worker := worker_me();
  j job := fence_job(p_job, p_attempt, p_claim, true);
BEGIN
  PERFORM need_values(num_nulls(p_backup, p_level, p_result, p_started), 'verification_add');
  IF j.backup IS DISTINCT FROM p_backup OR j.kind NOT IN ('verify', 'restore') THEN
    RAISE EXCEPTION 'job % proves nothing about backup %', p_job, p_backup USING ERRCODE = 'HF005', DETAIL = 'job.other_backup';
  ELSIF p_level IN ('restore', 'query') AND NOT (me.reader AND proves(j.params) AND j.params ->> 'level' = p_level) THEN
    RAISE EXCEPTION 'only a reader that was asked to restore proves that it can be done' USING ERRCODE = 'HF005', DETAIL = 'job.not_a_reader';
  END IF;
  INSERT INTO verification(backup, job, level, result, started_at, worker, checks)
    VALUES (p_backup, p_job, p_level, p_result, p_started, me.no, coalesce(p_checks, '{}'));
END $$;

-- --- which jobs there are ---------------------------------------------------------------------------

-- The newest good backup of a source and where it is proved: in the first of these stores that has nothing against it.
CREATE FUNCTION proof_of(p_source int, p_stores jsonb) RETURNS TABLE (backup uuid, repository int) LANGUAGE sql STABLE
  SET search_path = holdfast, pg_temp AS $$
  SELECT b.id, p.repository FROM backup b JOIN backup_place p ON p.backup = b.id AND p.deleted_at IS NULL
    JOIN verify_place(p_source, p_stores, NULL) WITH ORDINALITY AS x(no, n) ON x.no = p.repository
  WHERE b.source = p_source AND b.outcome = 'completed' AND place_fault(b.id, p.repository) IS NULL
  ORDER BY b.consistent_at DESC, x.n LIMIT 1 $$;

CREATE OR REPLACE FUNCTION verify_round_waits() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  retry jsonb;
BEGIN
  IF proves(NEW.params) THEN
    SELECT x.backup, x.repository INTO NEW.backup, NEW.repository FROM proof_of(NEW.source, NEW.params -> 'stores') x;
    IF NEW.backup IS NULL THEN -- nothing to prove: it is not the proof that failed
      NEW.state := 'skipped';
      NEW.finished_at := clock_timestamp();
      NEW.cause := 'proof.no_backup';
      NEW.error := 'the source has no good backup that could be restored';
      RETURN NEW;
    END IF;
    NEW.params := NEW.params || jsonb_build_object('backup', NEW.backup);
    NEW.max_failures := 1;
    NEW.pool := CASE WHEN NEW.params ? 'pool' THEN pool_named(NEW.params ->> 'pool') ELSE copy_pool(NEW) END;
    RETURN NEW;
  END IF;
  SELECT coalesce(s.spec -> 'retry', '{}') INTO retry FROM source s WHERE s.no = NEW.source;
  NEW.params := NEW.params || '{"round": true}';
  NEW.repository := coalesce(NEW.repository, (SELECT * FROM verify_place(NEW.source, NEW.params -> 'stores', NULL) LIMIT 1));
  NEW.max_failures := greatest(coalesce((retry ->> 'attempts')::int, 3), 1);
  NEW.pool := CASE WHEN NEW.params ? 'pool' THEN pool_named(NEW.params ->> 'pool') ELSE copy_pool(NEW) END;
  RETURN NEW;
END $$;

-- One that is asked for by hand goes where a sandbox is, unless a pool was named.
CREATE FUNCTION proof_waits() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
BEGIN
  NEW.pool := CASE WHEN NEW.params ? 'pool' THEN NEW.pool ELSE copy_pool(NEW) END;
  RETURN NEW;
END $$;
CREATE TRIGGER proof_waits BEFORE INSERT ON job FOR EACH ROW
  WHEN (NEW.kind = 'verify' AND NEW.backup IS NOT NULL AND NEW.finished_at IS NULL AND NEW.params ->> 'level' IN ('restore', 'query'))
  EXECUTE FUNCTION proof_waits();

CREATE OR REPLACE FUNCTION verify_rounds_move() RETURNS void LANGUAGE sql SET search_path = holdfast, pg_temp AS $$
  UPDATE job j SET pool = copy_pool(j) WHERE j.kind = 'verify' AND (j.params ? 'round' OR proves(j.params)) AND NOT j.params ? 'pool'
    AND j.state = 'pending' AND j.pool IS DISTINCT FROM copy_pool(j) $$;

-- --- who may do it ----------------------------------------------------------------------------------

-- As before; and a proof wants the engine and a sandbox.
CREATE OR REPLACE FUNCTION job_missing(j job, facts jsonb, reader boolean) RETURNS text LANGUAGE plpgsql STABLE SET search_path = holdfast, pg_temp AS $$
DECLARE
  rest text := job_missing_places(j, facts, reader);
  lacks text[];
  engine text;
BEGIN
  IF j.kind = 'verify' AND proves(j.params) THEN
    SELECT s.type INTO engine FROM source s WHERE s.no = j.source;
    lacks := CASE WHEN facts ? 'engines' AND NOT facts -> 'engines' ? engine THEN ARRAY[format('engine %s', engine)] ELSE '{}' END
      || CASE WHEN facts -> 'sandbox' IS DISTINCT FROM 'true' THEN ARRAY['a sandbox (allow.sandbox in worker.yaml)'] ELSE '{}' END;
  ELSIF j.kind IS DISTINCT FROM 'probe' OR NOT j.params ? 'against' THEN
    RETURN rest;
  ELSE
    SELECT store_missing(p.store, facts) INTO lacks FROM backup_places(job_against(j), j.pool) p
      ORDER BY cardinality(store_missing(p.store, facts)), p.n LIMIT 1;
  END IF;
  IF coalesce(cardinality(lacks), 0) = 0 THEN
    RETURN rest;
  END IF;
  RETURN left(coalesce(rest || ', ', 'lacks ') || array_to_string(lacks, ', '), 240);
END $$;

CREATE OR REPLACE FUNCTION job_order_any(j job) RETURNS jsonb LANGUAGE plpgsql STABLE SET search_path = holdfast, pg_temp AS $$
BEGIN
  IF j.kind = 'verify' AND proves(j.params) THEN
    RETURN job_order_places(j) || jsonb_build_object('proof', jsonb_build_object('queries',
      (SELECT coalesce(s.spec #> '{verify,query}', '[]') FROM source s WHERE s.no = j.source)));
  ELSIF j.kind IS DISTINCT FROM 'probe' THEN
    RETURN job_order_places(j);
  ELSIF j.params ? 'against' THEN
    RETURN job_order_places(j) || jsonb_build_object('against', places_json(job_against(j), j.pool, j.repository));
  ELSIF j.params ->> 'probe' = 'restore_plan' THEN
    RETURN job_order_places(j) || jsonb_build_object('estimate', restore_estimate(j.backup));
  END IF;
  RETURN job_order_places(j);
END $$;

-- --- the ledger -------------------------------------------------------------------------------------

-- One row a source: its last proven restore, the last try, and what that makes of it. Seconds count from an empty folder:
-- to the last byte, and until all of it was on disk and, of a database, its server took people in again.
CREATE VIEW proofs AS
  SELECT s.name AS source, s.type, s.rto_s, c.name AS schedule, c.at AS rule,
    backup_text(g.backup) AS backup, g.backup_at, g.level, g.finished_at AS proven_at, job_text(g.job) AS job,
    (g.checks ->> 'seconds')::float8 AS seconds, (g.checks ->> 'ready_seconds')::float8 AS ready_seconds,
    g.store, g.worker, g.host, g.checks ->> 'server_version' AS server_version, (g.checks ->> 'server_pid')::bigint AS server_pid,
    g.checks ->> 'system_identifier' AS system_identifier, (g.checks ->> 'tables')::bigint AS tables, (g.checks ->> 'rows')::bigint AS rows,
    (g.checks ->> 'files')::bigint AS files, (g.checks ->> 'bytes')::bigint AS bytes,
    (SELECT count(*) FROM jsonb_array_elements(g.checks -> 'queries')) AS queries, (g.checks ->> 'amcheck')::boolean AS amcheck,
    (g.checks ->> 'ready_seconds')::float8 <= s.rto_s AS rto_met,
    t.result AS last_result, t.finished_at AS last_at, job_text(t.job) AS last_job, t.checks ->> 'cause' AS last_cause, t.checks ->> 'text' AS last_text,
    late.slot AS late_since,
    CASE WHEN t.result <> 'ok' THEN t.result
      WHEN late.slot IS NOT NULL THEN 'overdue'
      WHEN g.id IS NULL THEN 'never'
      WHEN (g.checks ->> 'ready_seconds')::float8 > s.rto_s THEN 'slow' ELSE 'ok' END AS verdict
  FROM source s LEFT JOIN schedule c ON c.source = s.no AND c.kind = 'verify' AND c.name = 'verify:restore'
  LEFT JOIN LATERAL (SELECT v.id, v.backup, v.level, v.finished_at, v.job, v.checks, b.consistent_at AS backup_at, r.store, w.name AS worker, w.host
    FROM backup b JOIN verification v ON v.backup = b.id AND v.level IN ('restore', 'query') AND v.result = 'ok'
      LEFT JOIN repository r ON r.no = v.repository LEFT JOIN worker w ON w.no = v.worker
    WHERE b.source = s.no ORDER BY v.finished_at DESC, v.id DESC LIMIT 1) g ON true
  LEFT JOIN LATERAL (SELECT v.result, v.started_at, v.finished_at, v.job, v.checks
    FROM backup b JOIN verification v ON v.backup = b.id AND v.level IN ('restore', 'query')
    WHERE b.source = s.no ORDER BY v.finished_at DESC, v.id DESC LIMIT 1) t ON true
  LEFT JOIN LATERAL (SELECT max(j.slot) AS slot FROM job j WHERE j.source = s.no AND j.schedule = c.name
    AND j.slot < clock_timestamp() - make_interval(secs => setting_of('verify_overdue_s')) AND j.slot > coalesce(t.started_at, '-infinity')) late ON true
  WHERE s.retired_at IS NULL AND s.spec #>> '{config,method}' IS DISTINCT FROM 'wal'; -- a log is restored with its base alone

CREATE FUNCTION proof_json(p proofs) RETURNS jsonb LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT jsonb_build_object('source', p.source, 'type', p.type, 'verdict', p.verdict, 'rule', p.rule, 'backup', p.backup, 'backup_at', rfc3339(p.backup_at),
    'level', p.level, 'proven_at', rfc3339(p.proven_at), 'job', p.job, 'seconds', p.seconds, 'ready_seconds', p.ready_seconds, 'rto_seconds', p.rto_s,
    'rto_met', p.rto_met, 'store', p.store, 'worker', p.worker, 'host', p.host, 'server_version', p.server_version, 'server_pid', p.server_pid,
    'system_identifier', p.system_identifier, 'tables', p.tables, 'rows', p.rows, 'files', p.files, 'bytes', p.bytes, 'queries', p.queries,
    'amcheck', p.amcheck, 'last_result', p.last_result, 'last_at', rfc3339(p.last_at), 'last_job', p.last_job, 'last_cause', p.last_cause,
    'last_text', p.last_text) $$;

-- As before, of checks alone: proofs have a list of their own.
CREATE OR REPLACE VIEW verify_facts AS
  SELECT s.name AS source, s.no AS source_no, r.store, r.no AS repository, c.name AS schedule, c.at AS rule, c.params ->> 'level' AS level,
    (c.params ->> 'within_s')::bigint AS within_s, n.job, n.started_at, n.ended_at, n.known, n.packs, n.done, n.failed, n.oldest_at, late.slot AS late_since,
    CASE WHEN late.slot IS NOT NULL THEN format('its round of %s has not been', rfc3339(late.slot))
      WHEN n.oldest_at + make_interval(secs => n.within_s + setting_of('verify_overdue_s')) < clock_timestamp()
        THEN format('a pack was last seen on %s', rfc3339(n.oldest_at)) END AS overdue
  FROM schedule c JOIN source s ON s.no = c.source AND s.retired_at IS NULL
  CROSS JOIN LATERAL verify_place(s.no, c.params -> 'stores', NULL) p(no) JOIN repository r ON r.no = p.no
  LEFT JOIN LATERAL (SELECT v.* FROM verify_round v WHERE v.source = s.no AND v.repository = r.no AND v.level = c.params ->> 'level'
    AND v.ended_at IS NOT NULL ORDER BY v.started_at DESC LIMIT 1) n ON true
  LEFT JOIN LATERAL (SELECT max(j.slot) AS slot FROM job j WHERE j.source = s.no AND j.schedule = c.name
    AND j.slot < clock_timestamp() - make_interval(secs => setting_of('verify_overdue_s')) AND j.slot > coalesce(n.started_at, '-infinity')) late ON true
  WHERE c.kind = 'verify' AND NOT proves(c.params);

-- As before; and proofs that came too late.
CREATE OR REPLACE FUNCTION rebuild_checks(p_job bigint, p_attempt bigint, p_claim uuid, p_repository int, p_object uuid, p_backups uuid[], p_levels text[],
    p_results text[], p_started timestamptz[], p_finished timestamptz[], p_workers text[], p_hosts text[], p_checks text[])
  RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  repo int := rebuild_fence(p_job, p_attempt, p_claim, p_repository);
  names text[];
  hosts text[];
  nos int[];
  news bigint;
BEGIN
  PERFORM need_values(num_nulls(p_object, p_backups, p_levels, p_results, p_started, p_finished, p_workers, p_hosts, p_checks), 'rebuild_checks');
  PERFORM pg_advisory_xact_lock(hashtextextended('holdfast.rebuild', repo));
  SELECT array_agg(x.name), array_agg(x.host), array_agg(rebuild_checker(x.name, x.host)) INTO names, hosts, nos
    FROM (SELECT DISTINCT u.name, u.host FROM unnest(p_workers, p_hosts) AS u(name, host) ORDER BY u.name, u.host) x;
  INSERT INTO verification(backup, repository, job, level, result, started_at, finished_at, worker, checks, told_at)
    SELECT x.backup, repo, CASE WHEN p_job = 0 THEN b.job ELSE p_job END, x.level, x.result, x.started, x.finished, w.no,
      x.checks::jsonb || jsonb_build_object('told', p_object), clock_timestamp()
    FROM unnest(p_backups, p_levels, p_results, p_started, p_finished, p_workers, p_hosts, p_checks) WITH ORDINALITY
        AS x(backup, level, result, started, finished, worker, host, checks, n)
      JOIN backup b ON b.id = x.backup JOIN backup_place p ON p.backup = b.id AND p.repository = repo
      LEFT JOIN unnest(names, hosts, nos) AS w(name, host, no) ON w.name = x.worker AND w.host = x.host
    WHERE x.level IN ('stored', 'content', 'restore', 'query') AND x.result IN ('ok', 'failed', 'inconclusive', 'too_late')
      AND NOT EXISTS (SELECT FROM verification v WHERE v.backup = x.backup AND v.repository = repo AND v.level = x.level
        AND v.result = x.result AND v.finished_at = x.finished)
    ORDER BY x.n;
  GET DIAGNOSTICS news = ROW_COUNT;
  RETURN news;
END $$;

REVOKE ALL ON FUNCTION proves, verification_add, proof_of, verify_round_waits, proof_waits, verify_rounds_move, job_missing, job_order_any, proof_json,
  rebuild_checks FROM PUBLIC;
GRANT EXECUTE ON FUNCTION verification_add TO holdfast_worker;
GRANT EXECUTE ON FUNCTION rebuild_checks TO holdfast_reader;
GRANT EXECUTE ON FUNCTION proves, proof_of, verify_rounds_move, job_missing, job_order_any, proof_json TO holdfast_scheduler;
GRANT EXECUTE ON FUNCTION proves TO holdfast_auditor;
GRANT SELECT ON proofs TO holdfast_scheduler, holdfast_auditor;
