-- Restore grants: a worker without a reader key restores one backup, once, before an instant. A reader seals the keys of
-- just that backup's chunks to the box key of the worker's certificate, which the root signed. What lies here opens for
-- nobody else; it is handed out to that worker alone, for one restore, and is deleted with it.
CREATE TABLE restore_grant (
  id         uuid PRIMARY KEY,
  backup     uuid NOT NULL REFERENCES backup,
  worker     int NOT NULL REFERENCES worker,             -- who may use it
  certificate text NOT NULL,                             -- hex: the key it is bound to; a reader checks who signed it
  actor      text NOT NULL,
  reason     text NOT NULL CHECK (reason <> ''),
  asked_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  until      timestamptz NOT NULL,
  maker      bigint REFERENCES job,
  made_at    timestamptz,
  used_by    bigint REFERENCES job,                      -- the restore that took it
  used_at    timestamptz,
  withdrawn_at timestamptz);
CREATE INDEX restore_grant_newest ON restore_grant(asked_at);
CREATE TABLE restore_grant_part (
  grant_id   uuid NOT NULL REFERENCES restore_grant ON DELETE CASCADE,
  n          int NOT NULL,
  bytes      bytea NOT NULL CHECK (octet_length(bytes) <= 1048576),
  PRIMARY KEY (grant_id, n));
INSERT INTO setting VALUES ('grant_most', 604800, 'seconds: no restore grant lasts longer');

CREATE FUNCTION grant_audit(g restore_grant, p_actor text, p_kind text, p_action text, p_result text, p_detail jsonb) RETURNS void
  LANGUAGE sql SET search_path = holdfast, pg_temp AS $$
  INSERT INTO audit_event(actor, actor_kind, via, action, object, reason, result, detail)
    SELECT p_actor, p_kind, CASE p_kind WHEN 'worker' THEN 'worker' ELSE 'api' END, p_action, backup_text(g.backup), g.reason, p_result,
      p_detail || jsonb_build_object('grant', g.id, 'worker', w.name, 'until', rfc3339(g.until)) FROM worker w WHERE w.no = g.worker $$;

-- What is over opens nothing any more, for nobody.
CREATE FUNCTION grants_forget() RETURNS void LANGUAGE sql SET search_path = holdfast, pg_temp AS $$
  DELETE FROM restore_grant_part p USING restore_grant g WHERE g.id = p.grant_id AND (g.until <= clock_timestamp() OR g.withdrawn_at IS NOT NULL
    OR EXISTS (SELECT FROM job j WHERE j.id = g.used_by AND j.finished_at IS NOT NULL)) $$;

-- A grant, and the job of a reader that makes it.
CREATE FUNCTION grant_ask(p_backup uuid, p_worker text, p_seconds bigint, p_actor text, p_reason text, p_key text)
  RETURNS TABLE (job bigint, pool int, again boolean, id uuid) LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  b backup;
  w worker;
  cert text;
  in_pool text;
  number uuid := gen_random_uuid();
  made record;
BEGIN
  PERFORM need_values(num_nulls(p_backup, p_worker, p_seconds, p_actor, p_reason), 'grant_ask');
  PERFORM grants_forget();
  SELECT * INTO b FROM backup x WHERE x.id = p_backup AND x.deleted_at IS NULL;
  SELECT * INTO w FROM worker x WHERE x.name = p_worker AND x.retired_at IS NULL;
  IF b.id IS NULL THEN
    RAISE EXCEPTION 'no backup has this id' USING ERRCODE = 'HF002', DETAIL = 'backup.unknown';
  ELSIF w.no IS NULL THEN
    RAISE EXCEPTION 'no worker is called %', p_worker USING ERRCODE = 'HF002', DETAIL = 'worker.unknown';
  ELSIF b.key_set = '' THEN
    RAISE EXCEPTION 'the backup is not encrypted: any worker restores it' USING ERRCODE = 'HF003', DETAIL = 'grant.plain';
  ELSIF trim(p_reason) = '' THEN
    RAISE EXCEPTION 'a grant needs a reason, for the audit log' USING ERRCODE = 'HF004', DETAIL = 'grant.reason';
  ELSIF p_seconds < 60 OR p_seconds > setting_of('grant_most') THEN
    RAISE EXCEPTION 'a grant lasts from a minute to % hours', round(setting_of('grant_most') / 3600.0) USING ERRCODE = 'HF004', DETAIL = 'grant.time';
  END IF;
  SELECT i.facts #>> ARRAY['certificates', b.key_set] INTO cert FROM worker_instance i
    WHERE i.worker = w.no AND i.facts #>> ARRAY['certificates', b.key_set] IS NOT NULL ORDER BY i.bye_at IS NOT NULL, i.seen_at DESC LIMIT 1;
  IF cert IS NULL THEN
    RAISE EXCEPTION 'worker % has shown no certificate of the key set %: enroll its host with holdfast-worker key enroll', p_worker, b.key_set
      USING ERRCODE = 'HF003', DETAIL = 'grant.no_certificate';
  END IF;
  SELECT p.name INTO in_pool FROM worker x JOIN worker_instance i ON i.worker = x.no AND i.bye_at IS NULL JOIN pool p ON p.no = ANY (x.pools)
    WHERE x.reader AND x.retired_at IS NULL AND i.facts -> 'roles' ? 'read' AND i.facts -> 'key_sets' ? b.key_set
    ORDER BY p.name LIKE 'host:%', p.name <> 'default', p.no LIMIT 1;
  SELECT * INTO made FROM job_create('probe', 'manual', NULL, in_pool, jsonb_build_object('probe', 'restore_grant', 'backup', b.id, 'make_grant', number),
    p_actor, p_key, NULL, NULL);
  IF made.again THEN
    RETURN QUERY SELECT made.job, made.pool, true, g.id FROM restore_grant g WHERE g.maker = made.job;
    RETURN;
  END IF;
  INSERT INTO restore_grant(id, backup, worker, certificate, actor, reason, until, maker)
    VALUES (number, b.id, w.no, cert, p_actor, p_reason, clock_timestamp() + make_interval(secs => p_seconds), made.job);
  RETURN QUERY SELECT made.job, made.pool, false, number;
END $$;

CREATE FUNCTION grant_withdraw(p_id uuid, p_actor text, p_reason text) RETURNS void LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  g restore_grant;
BEGIN
  PERFORM need_values(num_nulls(p_id, p_actor), 'grant_withdraw');
  UPDATE restore_grant SET withdrawn_at = coalesce(withdrawn_at, clock_timestamp()) WHERE id = p_id RETURNING * INTO g;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'no grant has this id' USING ERRCODE = 'HF002', DETAIL = 'grant.unknown';
  END IF;
  PERFORM grants_forget();
END $$;

-- The reader's side: for whom, and until when, Unix seconds.
CREATE FUNCTION grant_wanted(p_job bigint, p_attempt bigint, p_claim uuid)
  RETURNS TABLE (id uuid, worker text, certificate text, until bigint) LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  me worker := worker_me();
  j job := fence_job(p_job, p_attempt, p_claim, false);
BEGIN
  IF NOT me.reader THEN
    RAISE EXCEPTION 'worker % may not read: enroll it with --reader', me.name USING ERRCODE = 'HF005', DETAIL = 'job.not_a_reader';
  END IF;
  RETURN QUERY SELECT g.id, w.name, g.certificate, extract(epoch FROM g.until)::bigint FROM restore_grant g JOIN worker w ON w.no = g.worker
    WHERE g.maker = p_job AND g.id = (j.params ->> 'make_grant')::uuid AND g.made_at IS NULL AND g.withdrawn_at IS NULL
      AND g.until > clock_timestamp() AND w.retired_at IS NULL;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'nobody waits for this grant any more' USING ERRCODE = 'HF003', DETAIL = 'grant.over';
  END IF;
END $$;

-- Part n; the last one makes it whole.
CREATE FUNCTION grant_put(p_job bigint, p_attempt bigint, p_claim uuid, p_n int, p_bytes bytea, p_last boolean) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  me worker := worker_me();
  j job := fence_job(p_job, p_attempt, p_claim, true);
  g restore_grant;
BEGIN
  PERFORM need_values(num_nulls(p_n, p_bytes, p_last), 'grant_put');
  SELECT * INTO g FROM restore_grant x WHERE x.maker = j.id AND x.withdrawn_at IS NULL FOR UPDATE;
  IF g.id IS NULL OR NOT me.reader OR p_n NOT BETWEEN 0 AND 100 THEN
    RAISE EXCEPTION 'nobody waits for this grant any more' USING ERRCODE = 'HF003', DETAIL = 'grant.over';
  END IF;
  IF p_n = 0 THEN
    DELETE FROM restore_grant_part WHERE grant_id = g.id; -- of an attempt that died
  END IF;
  INSERT INTO restore_grant_part VALUES (g.id, p_n, p_bytes) ON CONFLICT (grant_id, n) DO UPDATE SET bytes = excluded.bytes;
  IF p_last AND g.made_at IS NULL THEN
    UPDATE restore_grant SET made_at = clock_timestamp() WHERE id = g.id;
    PERFORM grant_audit(g, me.name, 'worker', 'restore.grant.made', 'ok', jsonb_build_object('job', p_job, 'asked_by', g.actor));
  END IF;
END $$;

-- The host's side, in order. One restore takes it: that one may be tried again, and may look what it would do before;
-- no other may. Who asks in vain is written down.
CREATE FUNCTION grant_refusal(g restore_grant, me worker, j job) RETURNS text LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT CASE WHEN g.id IS NULL THEN 'grant.unknown'
    WHEN g.worker IS DISTINCT FROM me.no THEN 'grant.not_yours'
    WHEN g.backup IS DISTINCT FROM j.backup THEN 'grant.other'
    WHEN g.withdrawn_at IS NOT NULL THEN 'grant.withdrawn'
    WHEN g.until <= clock_timestamp() THEN 'grant.expired'
    WHEN g.made_at IS NULL THEN 'grant.not_made'
    WHEN g.used_by IS DISTINCT FROM j.id AND g.used_by IS NOT NULL THEN 'grant.used' END $$;

CREATE FUNCTION grant_take(p_job bigint, p_attempt bigint, p_claim uuid) RETURNS TABLE (refused text, n int, bytes bytea)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  me worker := worker_me();
  j job := fence_job(p_job, p_attempt, p_claim, true);
  g restore_grant;
  why text;
BEGIN
  IF NOT (j.kind = 'restore' OR j.params ->> 'probe' = 'restore_plan') THEN
    RAISE EXCEPTION 'a % job takes no grant', j.kind USING ERRCODE = 'HF005', DETAIL = 'job.not_a_reader';
  END IF;
  SELECT * INTO g FROM restore_grant x WHERE x.id = (j.params ->> 'grant')::uuid FOR UPDATE;
  why := grant_refusal(g, me, j);
  IF why IS NOT NULL THEN
    IF g.id IS NOT NULL THEN
      PERFORM grant_audit(g, me.name, 'worker', 'restore.grant.use', 'denied', jsonb_build_object('job', p_job, 'why', why));
    END IF;
    RETURN QUERY SELECT why, 0, NULL::bytea;
    RETURN;
  END IF;
  IF j.kind = 'restore' AND g.used_by IS NULL THEN
    UPDATE restore_grant SET used_by = j.id, used_at = clock_timestamp() WHERE id = g.id;
    PERFORM grant_audit(g, me.name, 'worker', 'restore.grant.use', 'ok', jsonb_build_object('job', p_job));
  END IF;
  RETURN QUERY SELECT NULL::text, p.n, p.bytes FROM restore_grant_part p WHERE p.grant_id = g.id ORDER BY p.n;
END $$;

-- What names a grant goes to the worker that it is for.
CREATE FUNCTION job_takes_grant() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  g restore_grant;
  home int;
BEGIN
  SELECT * INTO g FROM restore_grant x WHERE x.id::text = NEW.params ->> 'grant';
  IF g.id IS NULL OR g.backup IS DISTINCT FROM NEW.backup THEN
    RAISE EXCEPTION 'no grant of this backup has the id %', NEW.params ->> 'grant' USING ERRCODE = 'HF002', DETAIL = 'grant.unknown';
  ELSIF g.withdrawn_at IS NOT NULL OR g.until <= clock_timestamp() OR g.used_by IS NOT NULL THEN
    RAISE EXCEPTION 'the grant is over: it was %', CASE WHEN g.withdrawn_at IS NOT NULL THEN 'withdrawn' WHEN g.used_by IS NOT NULL THEN 'used'
      ELSE 'for a time that has passed' END USING ERRCODE = 'HF003', DETAIL = 'grant.over';
  ELSIF g.made_at IS NULL THEN
    RAISE EXCEPTION 'no reader has made the grant yet' USING ERRCODE = 'HF003', DETAIL = 'grant.not_made';
  END IF;
  SELECT p.no INTO home FROM worker w JOIN pool p ON p.no = ANY (w.pools) WHERE w.no = g.worker ORDER BY p.name NOT LIKE 'host:%', p.no LIMIT 1;
  NEW.pool := coalesce(home, NEW.pool);
  RETURN NEW;
END $$;
CREATE TRIGGER job_takes_grant BEFORE INSERT ON job FOR EACH ROW WHEN (NEW.params ? 'grant' AND NEW.finished_at IS NULL)
  EXECUTE FUNCTION job_takes_grant();

REVOKE ALL ON FUNCTION grant_audit, grants_forget, grant_ask, grant_withdraw, grant_wanted, grant_put, grant_refusal, grant_take, job_takes_grant FROM PUBLIC;
GRANT SELECT, INSERT, UPDATE ON restore_grant TO holdfast_scheduler;
GRANT SELECT (grant_id), DELETE ON restore_grant_part TO holdfast_scheduler;
GRANT EXECUTE ON FUNCTION grant_ask, grant_withdraw, grants_forget TO holdfast_scheduler;
GRANT EXECUTE ON FUNCTION grant_wanted, grant_put TO holdfast_reader;
GRANT EXECUTE ON FUNCTION grant_take TO holdfast_worker;

-- As before; a reader makes grants, and what has one needs no reader key: it needs the key that the grant is bound to.
CREATE OR REPLACE FUNCTION job_missing_one(j job, facts jsonb, reader boolean) RETURNS text LANGUAGE plpgsql STABLE
  SET search_path = holdfast, pg_temp AS $$
DECLARE
  s source;
  r repository;
  st store;
  lacks text[] := '{}';
  probe text := coalesce(j.params ->> 'probe', '');
  reads boolean;
BEGIN
  SELECT * INTO s FROM source WHERE no = j.source;
  SELECT * INTO r FROM repository WHERE no = CASE WHEN j.kind = 'backup' THEN s.repository ELSE j.repository END;
  SELECT * INTO st FROM store WHERE name = r.store;
  IF facts ? 'orders' AND NOT facts -> 'orders' @> '1' THEN -- what job_order writes as v
    lacks := lacks || format('order version 1 (it reads %s)', facts ->> 'orders');
  END IF;
  IF j.kind IN ('backup', 'restore') OR probe = 'source_test' THEN
    IF facts ? 'engines' AND s.type IS NOT NULL AND NOT facts -> 'engines' ? s.type THEN
      lacks := lacks || format('engine %s', s.type);
    END IF;
  END IF;
  IF j.kind = 'backup' AND s.type = 'postgresql' AND facts #> '{tools,pg_dump}' IS NOT NULL AND NOT EXISTS (
       SELECT FROM jsonb_array_elements_text(facts #> '{tools,pg_dump}') t WHERE substring(t FROM '^[0-9]{1,4}')::int >= coalesce(s.server_major, 0)) THEN
    lacks := lacks || format('pg_dump %sor newer (it has %s)', s.server_major || ' ',
      coalesce((SELECT string_agg(t, ', ') FROM jsonb_array_elements_text(facts #> '{tools,pg_dump}') t), 'none'));
  END IF;
  IF r.no IS NOT NULL THEN
    IF facts ? 'stores' AND NOT facts -> 'stores' ? r.store THEN
      lacks := lacks || format('store %s', r.store);
    END IF;
    IF r.key_set <> '' AND facts ? 'key_sets' AND NOT facts -> 'key_sets' ? r.key_set THEN
      lacks := lacks || format('key set %s', r.key_set);
    END IF;
    reads := j.kind IN ('restore', 'rebuild') OR (j.kind = 'verify' AND j.params ->> 'level' IS DISTINCT FROM 'stored')
             OR probe IN ('backup_files', 'restore_plan', 'restore_grant');
    IF j.params ? 'grant' THEN
      reads := false;
      IF NOT EXISTS (SELECT FROM restore_grant g WHERE g.id::text = j.params ->> 'grant' AND g.certificate = facts #>> ARRAY['certificates', r.key_set]) THEN
        lacks := lacks || format('the key of %s that the grant is bound to', r.key_set);
      END IF;
    END IF;
    IF r.key_set <> '' AND reads AND NOT (reader AND coalesce(facts -> 'roles' ? 'read', false)) THEN
      lacks := lacks || format('reader key of %s', r.key_set);
    END IF;
    IF r.key_set <> '' AND j.kind = 'backup' AND NOT coalesce(facts -> 'roles' ? 'write', false) THEN
      lacks := lacks || format('writer key of %s', r.key_set);
    END IF;
    IF j.kind IN ('prune', 'retention') AND NOT coalesce(facts -> 'roles' ? 'prune', false) THEN
      lacks := lacks || 'prune credential'::text;
    END IF;
  END IF;
  IF facts ? 'credentials' THEN
    lacks := lacks || array(
      SELECT format('credential %s', c) FROM credentials_in(
        CASE WHEN j.kind = 'backup' OR probe = 'source_test' THEN coalesce(s.spec -> 'config', '{}') ELSE j.params END) c
      WHERE NOT facts -> 'credentials' ? c);
    IF r.no IS NOT NULL THEN
      lacks := lacks || array(
        SELECT format('credential %s', c) FROM credentials_in(
          CASE WHEN j.kind IN ('prune', 'retention') THEN st.config
               ELSE st.config - 'prune_access_key' - 'prune_secret_key' END) c
        WHERE NOT facts -> 'credentials' ? c);
    END IF;
  END IF;
  RETURN CASE WHEN cardinality(lacks) > 0 THEN left('lacks ' || array_to_string(lacks, ', '), 240) END;
END $$;

-- As before, and grants that are over.
CREATE OR REPLACE FUNCTION housekeep() RETURNS void LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  old timestamptz := clock_timestamp() - make_interval(days => setting_of('log_days')::int);
BEGIN
  PERFORM grants_forget();
  DELETE FROM job_answer WHERE expires_at <= clock_timestamp();
  DELETE FROM idempotency WHERE created_at < clock_timestamp() - interval '24 hours';
  DELETE FROM event WHERE at < clock_timestamp() - interval '1 day';
  DELETE FROM job_log WHERE at < old;
  UPDATE worker_instance SET bye_at = clock_timestamp() WHERE bye_at IS NULL AND seen_at < clock_timestamp() - interval '1 hour'
    AND NOT EXISTS (SELECT FROM lease l WHERE l.instance = worker_instance.id);
  DELETE FROM limit_slot USING limit_wanted w WHERE limit_slot.scope = w.scope AND limit_slot.n > w.n AND limit_slot.job IS NULL;
END $$;
