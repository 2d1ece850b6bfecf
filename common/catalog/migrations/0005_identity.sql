-- Who is calling, and may they: the helpers of every function that a worker may execute.
-- Identity is session_user, never an argument. SQLSTATEs of ours, read by the C side:
--   HF001 fenced   HF002 missing   HF003 conflict   HF004 usage   HF005 denied      (DETAIL is the cause)

CREATE FUNCTION setting_of(p_name text) RETURNS double precision LANGUAGE plpgsql STABLE SET search_path = holdfast, pg_temp AS $$
DECLARE
  found_value double precision;
BEGIN
  SELECT value INTO found_value FROM setting WHERE name = p_name;
  IF found_value IS NULL THEN
    RAISE EXCEPTION 'no setting is called %', p_name USING ERRCODE = 'HF002', DETAIL = 'setting.unknown';
  END IF;
  RETURN found_value;
END $$;

-- A function that locks and then tests needs each statement to see what was committed before it.
CREATE FUNCTION need_read_committed() RETURNS void LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'the catalogue needs READ COMMITTED' USING ERRCODE = 'HF004', DETAIL = 'catalogue.isolation';
  END IF;
END $$;

CREATE FUNCTION need_values(p_missing int, p_function text) RETURNS void LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
BEGIN
  IF p_missing IS DISTINCT FROM 0 THEN
    RAISE EXCEPTION '% refuses NULL', p_function USING ERRCODE = 'HF004', DETAIL = 'catalogue.null';
  END IF;
END $$;

CREATE FUNCTION worker_me() RETURNS worker LANGUAGE plpgsql STABLE SET search_path = holdfast, pg_temp AS $$
DECLARE
  me worker;
BEGIN
  SELECT * INTO me FROM worker WHERE role_name = session_user AND retired_at IS NULL;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'role % is not an enrolled worker: holdfast-scheduler enroll', session_user
      USING ERRCODE = 'HF005', DETAIL = 'worker.not_enrolled';
  END IF;
  RETURN me;
END $$;

-- May this worker speak for jobs of that pool or source?
CREATE FUNCTION worker_serves(me worker, p_pool int, p_source int) RETURNS boolean LANGUAGE sql STABLE
  SET search_path = holdfast, pg_temp AS $$
  SELECT p_pool = ANY (me.pools) OR EXISTS (SELECT FROM source s WHERE s.no = p_source AND s.name = ANY (me.sources)) $$;

CREATE FUNCTION worker_signature(me worker) RETURNS text LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT md5(coalesce(string_agg(p.no || ' ' || p.name || ' ' || p.generation, ',' ORDER BY p.no), ''))
  FROM pool p WHERE p.no = ANY (me.pools)
     OR EXISTS (SELECT FROM source s WHERE s.pool = p.no AND s.retired_at IS NULL AND s.name = ANY (me.sources)) $$;

-- The job whose live claim the caller holds, or HF001. p_lock: also keep it from being ended until
-- this transaction is over.
CREATE FUNCTION fence_job(p_job bigint, p_attempt bigint, p_claim uuid, p_lock boolean) RETURNS job
  LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  me worker := worker_me();
  j job;
BEGIN
  PERFORM need_values(num_nulls(p_job, p_attempt, p_claim), 'a fence');
  IF p_lock THEN
    SELECT * INTO j FROM job WHERE id = p_job FOR SHARE;
  ELSE
    SELECT * INTO j FROM job WHERE id = p_job;
  END IF;
  IF j.id IS NULL OR j.state IS DISTINCT FROM 'running' OR j.attempt IS DISTINCT FROM p_attempt
     OR j.claim IS DISTINCT FROM p_claim
     OR NOT EXISTS (SELECT FROM lease l WHERE l.job = p_job AND l.attempt = p_attempt AND l.worker = me.no) THEN
    RAISE EXCEPTION 'attempt % no longer holds job %', p_attempt, p_job USING ERRCODE = 'HF001', DETAIL = 'job.fenced';
  END IF;
  RETURN j;
END $$;

CREATE FUNCTION fence_session(p_job bigint, p_attempt bigint) RETURNS session LANGUAGE plpgsql STABLE
  SET search_path = holdfast, pg_temp AS $$
DECLARE
  s session;
BEGIN
  SELECT * INTO s FROM session WHERE job = p_job AND attempt = p_attempt AND state = 'open';
  IF NOT FOUND THEN
    RAISE EXCEPTION 'job % has no open session: its kind reads and writes no repository', p_job
      USING ERRCODE = 'HF004', DETAIL = 'job.no_session';
  END IF;
  RETURN s;
END $$;

CREATE FUNCTION decide(p_job job, p_verdict text, p_code text, p_text text) RETURNS void LANGUAGE sql
  SET search_path = holdfast, pg_temp AS $$
  INSERT INTO decision(source, schedule, slot, job, verdict, code, text)
  VALUES (p_job.source, p_job.schedule, p_job.slot, p_job.id, p_verdict, p_code, p_text)
  ON CONFLICT (job, code) WHERE job IS NOT NULL
  DO UPDATE SET count = decision.count + 1, last_at = clock_timestamp(), text = excluded.text, verdict = excluded.verdict $$;

-- Enrolment: the login role and the registration together, by the administrator's own rights.
CREATE FUNCTION pool_named(p_name text) RETURNS int LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  number int;
BEGIN
  SELECT no INTO number FROM pool WHERE name = p_name;
  IF number IS NULL THEN
    INSERT INTO pool(name) VALUES (p_name) ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING no INTO number;
  END IF;
  RETURN number;
END $$;

CREATE FUNCTION enroll(p_name text, p_host text, p_pools text[], p_sources text[], p_reader boolean, p_verifier text)
  RETURNS int LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  numbers int[];
  me int;
BEGIN
  PERFORM need_values(num_nulls(p_name, p_host, p_pools, p_sources, p_reader), 'enroll');
  SELECT array_agg(DISTINCT pool_named(x)) INTO numbers FROM unnest(p_pools || ('host:' || p_host)) x;
  SELECT no INTO me FROM worker WHERE name = p_name AND retired_at IS NULL FOR UPDATE;
  IF me IS NULL THEN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = p_name) THEN
      RAISE EXCEPTION 'a role % exists and is no worker of this catalogue: choose another name', p_name
        USING ERRCODE = 'HF003', DETAIL = 'enroll.role_exists';
    END IF;
    EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION IN ROLE holdfast_worker', p_name);
    EXECUTE format('ALTER ROLE %I SET jit = off', p_name);
    INSERT INTO worker(role_name, name, host, pools, sources, reader)
    VALUES (p_name, p_name, p_host, numbers, p_sources, p_reader) RETURNING no INTO me;
  ELSE
    UPDATE worker SET host = p_host, pools = numbers, sources = p_sources, reader = p_reader WHERE no = me;
  END IF;
  EXECUTE format(CASE WHEN p_reader THEN 'GRANT holdfast_reader TO %I' ELSE 'REVOKE holdfast_reader FROM %I' END, p_name);
  IF p_verifier IS NOT NULL THEN
    EXECUTE format('ALTER ROLE %I PASSWORD %L', p_name, p_verifier);
  END IF;
  INSERT INTO audit_event(actor, actor_kind, via, action, object, result, detail)
  VALUES (session_user, 'user', 'scheduler', 'worker.enroll', p_name, 'ok',
          jsonb_build_object('host', p_host, 'pools', p_pools, 'sources', p_sources, 'reader', p_reader));
  RETURN me;
END $$;

CREATE FUNCTION enroll_drop(p_name text) RETURNS void LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
BEGIN
  UPDATE worker SET retired_at = clock_timestamp() WHERE name = p_name AND retired_at IS NULL;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'no worker is called %', p_name USING ERRCODE = 'HF002', DETAIL = 'worker.unknown';
  END IF;
  EXECUTE format('DROP ROLE IF EXISTS %I', p_name);
  INSERT INTO audit_event(actor, actor_kind, via, action, object, result)
  VALUES (session_user, 'user', 'scheduler', 'worker.drop', p_name, 'ok');
END $$;

CREATE FUNCTION scheduler_password(p_verifier text) RETURNS void LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
BEGIN
  EXECUTE format('ALTER ROLE holdfast_scheduler PASSWORD %L', p_verifier);
END $$;
