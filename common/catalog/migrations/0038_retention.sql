-- Which backups expire. A retention job of a source waits until a scheduler has planned it (keep.h): the plan says of
-- every backup of that source in that repository whether it stays, and why. With nothing to let go the job is done
-- at once; else a pruner runs it, who is given only what still may go at that moment. A plan is good for ten minutes
-- and for the policy it was made under: what waits longer is planned anew.
ALTER TABLE source
  ADD COLUMN suspicious_at timestamptz,                              -- something is wrong with its backups: nothing expires
  ADD COLUMN suspicious_reason text;
INSERT INTO setting VALUES
  ('retention_plan_s', 600, 'a plan of what expires that is older is not acted on'),
  ('retention_overdue_s', 86400, 'what was to go so long ago and is still there needs attention');

INSERT INTO lifecycle VALUES ('pending', 'SETTLE', 'completed');

CREATE TABLE retention_run (
  job        bigint PRIMARY KEY REFERENCES job,
  source     int NOT NULL REFERENCES source,
  repository int NOT NULL REFERENCES repository,
  planned_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  policy     bigint NOT NULL,                                        -- policy_mark() of its rules
  frozen     text,                                                   -- why nothing expires though it would
  kept       int NOT NULL,
  expired    int NOT NULL);
CREATE INDEX retention_run_of_source ON retention_run(source, repository, planned_at);
-- Of the newest run of a source in a repository only.
CREATE TABLE retention_ruling (
  job        bigint REFERENCES retention_run ON DELETE CASCADE,
  backup     uuid REFERENCES backup,
  expires    boolean NOT NULL,
  reason     text NOT NULL,
  PRIMARY KEY (job, backup));
CREATE INDEX retention_ruling_of_backup ON retention_ruling(backup);
CREATE INDEX job_retention_waits ON job(id) WHERE kind = 'retention' AND state IN ('pending', 'queued');
CREATE INDEX backup_expired ON backup(repository, expires_at) WHERE expires_at IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX backup_there ON backup(source, repository) WHERE deleted_at IS NULL;

-- Nobody reaches it: the run_at of a job that waits for its plan.
CREATE FUNCTION unplanned() RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$ SELECT timestamptz '2200-01-01 00:00:00+00' $$;

CREATE FUNCTION retention_waits() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
BEGIN
  NEW.run_at := unplanned();
  NEW.repository := coalesce(NEW.repository, (SELECT s.repository FROM source s WHERE s.no = NEW.source));
  RETURN NEW;
END $$;
CREATE TRIGGER retention_waits BEFORE INSERT ON job FOR EACH ROW
  WHEN (NEW.kind = 'retention' AND NEW.source IS NOT NULL AND NEW.finished_at IS NULL) EXECUTE FUNCTION retention_waits();
CREATE TRIGGER retention_waits_again BEFORE UPDATE OF state ON job FOR EACH ROW
  WHEN (NEW.kind = 'retention' AND NEW.source IS NOT NULL AND OLD.state = 'failed' AND NEW.state = 'pending') EXECUTE FUNCTION retention_waits();

-- The jobs that need a plan: they have none, or an old one, or one by another policy.
CREATE FUNCTION retention_due(p_most int) RETURNS TABLE (job bigint, source int, repository int) LANGUAGE sql STABLE
  SET search_path = holdfast, pg_temp AS $$
  SELECT j.id, j.source, j.repository FROM job j LEFT JOIN retention_run r ON r.job = j.id
  WHERE j.kind = 'retention' AND j.state IN ('pending', 'queued') AND j.source IS NOT NULL
    AND (r.job IS NULL OR j.run_at = unplanned() OR r.policy <> policy_mark()
      OR r.planned_at < clock_timestamp() - make_interval(secs => setting_of('retention_plan_s') / 2)
      OR r.planned_at < (SELECT max(a.ended_at) FROM job_attempt a WHERE a.job = j.id))
  ORDER BY j.id LIMIT p_most $$;

-- What a plan needs to know of a source in a repository: all of them that hold backups, or those of one.
CREATE FUNCTION retention_sources(p_source int, p_repository int, p_after text, p_most int)
  RETURNS TABLE (source int, name text, repository int, store text, key_set text, spec text, timezone text, failures bigint,
    suspicious text, frozen text, lock_s bigint, policy bigint, now_is timestamptz, retired boolean)
  LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT s.no, s.name, r.no, r.store, r.key_set, s.spec::text, coalesce(s.spec ->> 'timezone', 'UTC'),
    (SELECT count(*) FROM job j WHERE j.source = s.no AND j.kind = 'backup' AND j.state IN ('failed', 'partial', 'missed')
       AND j.id > coalesce((SELECT max(k.id) FROM job k WHERE k.source = s.no AND k.kind = 'backup' AND k.state = 'completed'), 0)),
    CASE WHEN s.suspicious_at IS NOT NULL THEN coalesce(s.suspicious_reason, 'its backups look suspicious') END,
    CASE WHEN r.rolled_back THEN 'its store or the catalogue was set back' WHEN r.frozen_at IS NOT NULL THEN r.frozen_reason END,
    coalesce(((st.config #>> '{lock,for}')::bigint) / 1000, 0), policy_mark(), clock_timestamp(), s.retired_at IS NOT NULL
  FROM (SELECT * FROM source x WHERE (p_source IS NULL OR x.no = p_source) AND (p_after IS NULL OR x.name > p_after)
          AND (p_source IS NOT NULL OR x.retired_at IS NULL) ORDER BY x.name LIMIT p_most) s
  JOIN repository r ON CASE WHEN p_repository IS NOT NULL THEN r.no = p_repository
    ELSE r.no = s.repository OR EXISTS (SELECT FROM backup b WHERE b.source = s.no AND b.repository = r.no AND b.deleted_at IS NULL) END
  JOIN store st ON st.name = r.store ORDER BY s.name, r.no $$;

-- The backups of a source in a repository, oldest first. quality as in keep.h: 1 good, 2 doubtful, 3 partial.
-- In use: somebody reads it, or waits for a restore or a check of it.
CREATE FUNCTION retention_backups(p_source int, p_repository int)
  RETURNS TABLE (id uuid, at timestamptz, started_at timestamptz, committed_at timestamptz, sequence bigint, schedule text, quality int,
    proved boolean, in_use boolean, held_until timestamptz, locked_until timestamptz, bytes bigint, outcome text)
  LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT b.id, b.consistent_at, b.started_at, b.committed_at, b.sequence, b.schedule,
    CASE WHEN b.outcome <> 'completed' THEN 3 WHEN backup_good(b) THEN 1 ELSE 2 END,
    EXISTS (SELECT FROM verification v WHERE v.backup = b.id AND v.level IN ('content', 'restore', 'query') AND v.result = 'ok'),
    EXISTS (SELECT FROM job j WHERE j.source = p_source AND j.state IN ('pending', 'queued', 'running') AND j.backup = b.id),
    b.held_until, b.locked_until, b.bytes, b.outcome
  FROM backup b LEFT JOIN backup_copy c ON c.backup = b.id AND c.repository = p_repository AND c.deleted_at IS NULL
  WHERE b.source = p_source AND (b.repository = p_repository AND b.deleted_at IS NULL OR c.backup IS NOT NULL)
  ORDER BY b.consistent_at, b.sequence $$;

-- How much of the store each of these would free if all of them went: a pack goes with the newest that names it.
CREATE FUNCTION retention_frees(p_repository int, p_backups uuid[]) RETURNS TABLE (backup uuid, bytes bigint) LANGUAGE plpgsql STABLE
  SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  going bigint[];
BEGIN
  SELECT array_agg(DISTINCT u.no) INTO going FROM backup b CROSS JOIN LATERAL unnest(b.packs) u(no)
    WHERE b.id = ANY (p_backups) AND b.repository = p_repository;
  RETURN QUERY WITH left_over AS MATERIALIZED (
      SELECT unnest(going) AS no EXCEPT
      SELECT u.no FROM (
          SELECT b.packs FROM backup b WHERE b.repository = p_repository AND b.deleted_at IS NULL AND b.id <> ALL (p_backups)
          UNION ALL SELECT c.packs FROM backup_copy c WHERE c.repository = p_repository AND c.deleted_at IS NULL AND c.backup <> ALL (p_backups)) y
        CROSS JOIN LATERAL unnest(y.packs) u(no)),
    owner AS (SELECT DISTINCT ON (l.no) l.no, b.id FROM backup b CROSS JOIN LATERAL unnest(b.packs) u(no) JOIN left_over l ON l.no = u.no
        WHERE b.id = ANY (p_backups) ORDER BY l.no, b.consistent_at DESC, b.sequence DESC)
    SELECT o.id, sum(p.bytes)::bigint FROM owner o JOIN pack p ON p.no = o.no GROUP BY o.id;
END $$;

-- The plan of a waiting job. False: it waits for none any more. With nothing to expire the job is done.
CREATE FUNCTION retention_plan(p_job bigint, p_policy bigint, p_frozen text, p_backups uuid[], p_expires boolean[], p_reasons text[])
  RETURNS boolean LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job;
  going int;
BEGIN
  PERFORM need_values(num_nulls(p_job, p_policy, p_backups, p_expires, p_reasons), 'retention_plan');
  SELECT * INTO j FROM job WHERE id = p_job AND kind = 'retention' AND state IN ('pending', 'queued') FOR UPDATE;
  IF NOT FOUND OR p_policy <> policy_mark() THEN
    RETURN false;
  END IF;
  SELECT count(*) FILTER (WHERE x) INTO going FROM unnest(p_expires) x;
  DELETE FROM retention_ruling WHERE job IN (SELECT r.job FROM retention_run r WHERE r.source = j.source AND r.repository = j.repository);
  DELETE FROM retention_run WHERE job = p_job OR (source = j.source AND repository = j.repository
    AND planned_at < clock_timestamp() - make_interval(days => setting_of('log_days')::int));
  INSERT INTO retention_run(job, source, repository, policy, frozen, kept, expired)
    VALUES (p_job, j.source, j.repository, p_policy, p_frozen, cardinality(p_expires) - going, going);
  INSERT INTO retention_ruling(job, backup, expires, reason)
    SELECT p_job, x.backup, x.expires, x.reason FROM unnest(p_backups, p_expires, p_reasons) AS x(backup, expires, reason);
  UPDATE backup b SET expires_at = CASE WHEN x.expires THEN clock_timestamp() END
    FROM unnest(p_backups, p_expires) AS x(backup, expires)
    WHERE b.id = x.backup AND b.repository = j.repository AND x.expires <> (b.expires_at IS NOT NULL);
  UPDATE backup_copy c SET expires_at = CASE WHEN x.expires THEN clock_timestamp() END
    FROM unnest(p_backups, p_expires) AS x(backup, expires)
    WHERE c.backup = x.backup AND c.repository = j.repository AND x.expires <> (c.expires_at IS NOT NULL);
  IF going > 0 THEN
    UPDATE job SET run_at = CASE WHEN run_at = unplanned() THEN clock_timestamp() ELSE run_at END,
      pool = CASE WHEN state = 'pending' THEN coalesce(prune_pool(repository), pool) ELSE pool END WHERE id = p_job;
  ELSIF j.state = 'pending' THEN
    UPDATE job SET state = 'completed', finished_at = clock_timestamp(), run_at = clock_timestamp(), dispatch = dispatch + 1 WHERE id = p_job;
    PERFORM decide(j, 'ran', 'retention.nothing', format('nothing expires: %s kept%s', cardinality(p_expires), coalesce(', frozen: ' || p_frozen, '')));
  END IF;
  RETURN true;
END $$;

-- What the running job may let go now, with the reason of each. What was good, free and not the last when it was
-- planned may be damaged, held or the last by now: then it stays, and the next plan says why.
CREATE FUNCTION retention_take(p_job bigint, p_attempt bigint, p_claim uuid) RETURNS TABLE (backup uuid, reason text)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
  j job;
  r retention_run;
  why text;
BEGIN
  PERFORM collect_may(s.repository);
  SELECT * INTO j FROM job x WHERE x.id = p_job;
  SELECT * INTO r FROM retention_run x WHERE x.job = p_job;
  IF r.job IS NULL OR r.policy <> policy_mark() OR r.planned_at < clock_timestamp() - make_interval(secs => setting_of('retention_plan_s')) THEN
    RAISE EXCEPTION 'the plan of job % is too old, or of another policy: it is planned anew', p_job USING ERRCODE = 'HF003', DETAIL = 'retention.stale';
  END IF;
  SELECT suspicious_reason INTO why FROM source x WHERE x.no = j.source AND x.suspicious_at IS NOT NULL;
  IF FOUND THEN
    RAISE EXCEPTION 'nothing of this source expires: %', coalesce(why, 'its backups look suspicious') USING ERRCODE = 'HF003', DETAIL = 'retention.suspicious';
  END IF;
  IF NOT EXISTS (SELECT FROM backup b WHERE b.source = j.source AND b.repository = s.repository AND backup_good(b)
      AND NOT EXISTS (SELECT FROM retention_ruling x WHERE x.job = p_job AND x.backup = b.id AND x.expires)) THEN
    RAISE EXCEPTION 'no good backup would be left: it is planned anew' USING ERRCODE = 'HF003', DETAIL = 'retention.last_good';
  END IF;
  RETURN QUERY SELECT x.backup, x.reason FROM retention_ruling x JOIN backup b ON b.id = x.backup
    WHERE x.job = p_job AND x.expires AND b.repository = s.repository AND b.deleted_at IS NULL
      AND coalesce(b.held_until, '-infinity') <= clock_timestamp() AND coalesce(b.locked_until, '-infinity') <= clock_timestamp()
      AND NOT EXISTS (SELECT FROM job o WHERE o.source = j.source AND o.state IN ('pending', 'queued', 'running') AND o.backup = b.id)
    ORDER BY b.consistent_at, b.sequence;
END $$;

-- Lets retention and collection go on: of every frozen repository of a store, or of all, or of a source under
-- suspicion. How many there were.
CREATE FUNCTION retention_resume(p_store text, p_source text, p_reason text, p_actor text) RETURNS int LANGUAGE plpgsql
  SET search_path = holdfast, pg_temp AS $$
DECLARE
  resumed int;
BEGIN
  PERFORM need_values(num_nulls(p_actor), 'retention_resume');
  IF coalesce(btrim(p_reason), '') = '' THEN
    RAISE EXCEPTION 'say why: what was frozen may be deleted after this' USING ERRCODE = 'HF004', DETAIL = 'retention.reason';
  END IF;
  IF p_source IS NOT NULL THEN
    IF NOT EXISTS (SELECT FROM source WHERE name = p_source) THEN
      RAISE EXCEPTION 'no source is called %', p_source USING ERRCODE = 'HF002', DETAIL = 'source.unknown';
    END IF;
    UPDATE source SET suspicious_at = NULL, suspicious_reason = NULL WHERE name = p_source AND suspicious_at IS NOT NULL;
  ELSE
    IF p_store IS NOT NULL AND NOT EXISTS (SELECT FROM store WHERE name = p_store) THEN
      RAISE EXCEPTION 'no store is called %', p_store USING ERRCODE = 'HF002', DETAIL = 'store.unknown';
    END IF;
    UPDATE repository SET frozen_at = NULL, frozen_reason = NULL WHERE frozen_at IS NOT NULL AND (p_store IS NULL OR store = p_store);
  END IF;
  GET DIAGNOSTICS resumed = ROW_COUNT;
  INSERT INTO audit_event(actor, actor_kind, via, action, object, reason, result, detail)
    VALUES (p_actor, 'user', 'api', 'retention.resume', coalesce(p_source, p_store, 'all'), p_reason, 'ok', jsonb_build_object('resumed', resumed));
  RETURN resumed;
END $$;

-- One row a source and repository that retention is asked for or was run on: did it act, and what is overdue?
CREATE VIEW retention_facts AS
  SELECT s.name AS source, r.store, r.key_set, x.source AS source_no, x.repository, n.planned_at, n.kept, n.expired,
    coalesce(n.frozen, CASE WHEN r.frozen_at IS NOT NULL THEN r.frozen_reason END) AS frozen, n.job, j.state, j.cause, j.error,
    (SELECT max(k.finished_at) FROM retention_run o JOIN job k ON k.id = o.job
      WHERE o.source = x.source AND o.repository = x.repository AND k.state = 'completed') AS acted_at,
    s.covered_since,
    (SELECT count(*) FROM backup b WHERE b.source = x.source AND b.repository = x.repository AND b.deleted_at IS NULL
      AND b.expires_at < clock_timestamp() - make_interval(secs => setting_of('retention_overdue_s'))
      AND coalesce(b.held_until, '-infinity') < clock_timestamp() AND coalesce(b.locked_until, '-infinity') < clock_timestamp()) AS overdue
  FROM (SELECT c.source, s.repository FROM schedule c JOIN source s ON s.no = c.source WHERE c.kind = 'retention' AND s.retired_at IS NULL
        UNION SELECT o.source, o.repository FROM retention_run o JOIN source s ON s.no = o.source WHERE s.retired_at IS NULL) x
  JOIN source s ON s.no = x.source JOIN repository r ON r.no = x.repository
  LEFT JOIN LATERAL (SELECT o.* FROM retention_run o WHERE o.source = x.source AND o.repository = x.repository
    ORDER BY o.planned_at DESC LIMIT 1) n ON true
  LEFT JOIN job j ON j.id = n.job;

-- --- holds ----------------------------------------------------------------------------------------

-- Holds count from this moment; what a rebuild must know of them is written into the store by a job of kind
-- retention that has no source, and no plan.
ALTER TABLE backup ADD COLUMN hold_stored_at timestamptz;              -- holds/<id> says what held_until says
CREATE FUNCTION backup_hold(p_backup uuid, p_until timestamptz, p_reason text, p_actor text, p_key text)
  RETURNS TABLE (job bigint, pool int) LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  b backup;
  none source;
  known job;
  in_pool int;
BEGIN
  PERFORM need_values(num_nulls(p_backup, p_actor), 'backup_hold');
  IF p_key IS NOT NULL THEN
    PERFORM pg_advisory_xact_lock(hashtextextended('holdfast.key ' || p_actor || ' ' || p_key, 0));
    SELECT * INTO known FROM job j WHERE j.actor = p_actor AND j.idempotency_key = p_key;
    IF FOUND THEN
      RETURN QUERY SELECT known.id, known.pool;
      RETURN;
    END IF;
  END IF;
  SELECT * INTO b FROM backup x WHERE x.id = p_backup AND x.deleted_at IS NULL FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'no backup has the id %', backup_text(p_backup) USING ERRCODE = 'HF002', DETAIL = 'backup.unknown';
  ELSIF coalesce(btrim(p_reason), '') = '' THEN
    RAISE EXCEPTION 'say why, for whoever asks in a year' USING ERRCODE = 'HF004', DETAIL = 'hold.reason';
  ELSIF p_until IS NULL AND b.held_until IS NULL THEN
    RAISE EXCEPTION '% is not held', backup_text(p_backup) USING ERRCODE = 'HF003', DETAIL = 'hold.none';
  END IF;
  UPDATE backup x SET held_until = p_until, held_reason = CASE WHEN p_until IS NOT NULL THEN left(p_reason, 400) END, hold_stored_at = NULL
    WHERE x.id = p_backup;
  INSERT INTO audit_event(actor, actor_kind, via, action, object, reason, result, detail)
    VALUES (p_actor, 'user', 'api', CASE WHEN p_until IS NULL THEN 'backup.release' ELSE 'backup.hold' END, backup_text(p_backup), p_reason, 'ok',
      jsonb_build_object('source', (SELECT name FROM source WHERE no = b.source), 'until', rfc3339(p_until), 'before', rfc3339(b.held_until)));
  PERFORM pool_named('default');
  in_pool := prune_pool(b.repository);
  RETURN QUERY SELECT job_new('retention', 'manual', none, NULL, NULL, '{"hold": true}', in_pool, p_actor, p_key, 80, 'pending', NULL,
    b.repository, b.id), in_pool;
END $$;

CREATE FUNCTION hold_now(p_job bigint, p_attempt bigint, p_claim uuid) RETURNS TABLE (backup uuid, until timestamptz, reason text)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
BEGIN
  RETURN QUERY SELECT b.id, b.held_until, coalesce(b.held_reason, '') FROM job j JOIN backup b ON b.id = j.backup
    WHERE j.id = p_job AND b.repository = s.repository;
END $$;

CREATE FUNCTION hold_stored(p_job bigint, p_attempt bigint, p_claim uuid, p_until timestamptz) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
BEGIN
  UPDATE backup b SET hold_stored_at = clock_timestamp() FROM job j
    WHERE j.id = p_job AND b.id = j.backup AND b.repository = s.repository AND b.held_until IS NOT DISTINCT FROM p_until;
  RETURN FOUND;
END $$;

GRANT SELECT ON retention_run, retention_ruling, retention_facts TO holdfast_scheduler;
GRANT INSERT, DELETE ON retention_run, retention_ruling TO holdfast_scheduler;
GRANT UPDATE (expires_at) ON backup_copy TO holdfast_scheduler;
GRANT UPDATE (hold_stored_at) ON backup TO holdfast_scheduler;
GRANT EXECUTE ON FUNCTION unplanned, retention_waits, retention_due, retention_sources, retention_backups, retention_frees, retention_plan,
  retention_resume, backup_hold TO holdfast_scheduler;
GRANT EXECUTE ON FUNCTION retention_take, hold_now, hold_stored TO holdfast_pruner;
