-- Several sources at one barrier. A slot of a group makes a job a member: the slot's own is the first member's, which leads.
-- What they agree on stands here, changed only under a live fence, so that it outlives whoever dies: each member says that it
-- is there; when all are, the lead has the application held and says so; each fixes its instant and says so; when all have,
-- the lead says that the barrier holds and has the application released. A member that ends before its backup is committed
-- breaks the barrier: what the others make are backups of their own. A backup says in its receipt of which barrier it is, so
-- that a rebuild from a store makes these rows again.
CREATE TABLE source_group (
  name       text PRIMARY KEY,
  spec       jsonb NOT NULL,                                     -- compiled: members, hold, release, timeout_s, gather_s
  retired_at timestamptz);

CREATE TABLE group_run (
  id         uuid PRIMARY KEY,
  name       text NOT NULL,
  lead       bigint UNIQUE REFERENCES job,                       -- nothing when it was rebuilt
  spec       jsonb NOT NULL,
  state      text NOT NULL CHECK (state IN ('gathering', 'holding', 'held', 'passed', 'broken')),
  made_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
  due_at     timestamptz,                                        -- of what the state waits for
  held_at    timestamptz,                                        -- from then on nothing changed, until
  passed_at  timestamptz,                                        -- every member had its instant
  released_at timestamptz,
  code       text, cause text,                                   -- why it broke
  CHECK ((state = 'broken') = (code IS NOT NULL)));
CREATE INDEX group_run_of_name ON group_run(name, made_at);

CREATE TABLE group_seat (
  run        uuid REFERENCES group_run,
  member     text,
  n          int NOT NULL,                                       -- 1 leads
  job        bigint UNIQUE REFERENCES job,
  attempt    bigint,
  arrived_at timestamptz,
  passed_at  timestamptz,
  backup     uuid UNIQUE REFERENCES backup,
  PRIMARY KEY (run, member));

CREATE FUNCTION groups_apply() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  groups jsonb := coalesce(NEW.document::jsonb -> 'groups', '{}');
BEGIN
  INSERT INTO source_group AS g (name, spec) SELECT e.key, e.value FROM jsonb_each(groups) e
    ON CONFLICT (name) DO UPDATE SET spec = excluded.spec, retired_at = NULL;
  UPDATE source_group SET retired_at = clock_timestamp() WHERE retired_at IS NULL AND NOT groups ? name;
  RETURN NULL;
END $$;
CREATE TRIGGER groups_apply AFTER INSERT ON policy_version FOR EACH ROW EXECUTE FUNCTION groups_apply();

-- --- a run begins -----------------------------------------------------------------------------------

-- What a job's params say of its seat: {"name", "run", "lead", "members", "hold", "release", "timeout_s", "gather_s"}.
CREATE FUNCTION group_words(p_name text, p_run uuid, p_spec jsonb, p_lead boolean) RETURNS jsonb LANGUAGE sql IMMUTABLE
  SET search_path = holdfast, pg_temp AS $$
  SELECT CASE WHEN p_lead THEN p_spec ELSE p_spec - 'hold' - 'release' END || jsonb_build_object('name', p_name, 'run', p_run, 'lead', p_lead) $$;

-- A backup job that names a group begins a run of it when it is the first member's and may run. One that is tried anew by
-- hand after its run is over is a backup of its own, unless it led: then it begins another.
CREATE FUNCTION group_ask() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  asked text := coalesce(NEW.params #>> '{group,name}', NEW.params ->> 'group');
  g source_group;
BEGIN
  IF NEW.params #> '{group,lead}' = 'false' AND EXISTS (
       SELECT FROM group_seat t JOIN source s ON s.name = t.member AND s.no = NEW.source
       WHERE t.run = (NEW.params #>> '{group,run}')::uuid AND t.job IS NULL) THEN
    RETURN NEW; -- made by group_begin
  END IF;
  SELECT x.* INTO g FROM source_group x JOIN source s ON s.no = NEW.source AND s.name = x.spec #>> '{members,0}'
    WHERE x.name = asked AND x.retired_at IS NULL;
  NEW.params := NEW.params - 'group';
  IF g.name IS NOT NULL THEN
    NEW.params := NEW.params || jsonb_build_object('group',
      CASE WHEN NEW.state = 'pending' THEN group_words(g.name, gen_random_uuid(), g.spec, true) ELSE to_jsonb(g.name) END);
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER group_ask BEFORE INSERT ON job FOR EACH ROW WHEN (NEW.kind = 'backup' AND NEW.params ? 'group') EXECUTE FUNCTION group_ask();

-- Somebody hears of it: the source's history, and whoever follows events.
CREATE FUNCTION group_break(p_run uuid, p_code text, p_text text) RETURNS void LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  r group_run;
  source_no int;
BEGIN
  UPDATE group_run SET state = 'broken', code = p_code, cause = left(p_text, 400), due_at = NULL WHERE id = p_run AND state <> 'broken' RETURNING * INTO r;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  FOR source_no IN SELECT s.no FROM group_seat t JOIN source s ON s.name = t.member WHERE t.run = p_run ORDER BY t.n LOOP
    INSERT INTO decision(source, verdict, code, text) VALUES (source_no, 'failed', p_code,
      format('the backups of group %s have no common instant: %s', r.name, left(p_text, 400)));
  END LOOP;
  INSERT INTO event(kind, source, job, data) VALUES ('alert', NULL, r.lead, jsonb_build_object('code', p_code, 'group', r.name, 'run', r.id,
    'text', format('the backups of group %s have no common instant: %s', r.name, left(p_text, 400))));
END $$;

CREATE FUNCTION group_begin() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  g jsonb := NEW.params -> 'group';
  spec jsonb := g - 'name' - 'run' - 'lead';
  s source;
  m record;
  number bigint;
  gone text;
BEGIN
  INSERT INTO group_run(id, name, lead, spec, state) VALUES ((g ->> 'run')::uuid, g ->> 'name', NEW.id, spec, 'gathering');
  INSERT INTO group_seat(run, member, n, job) SELECT (g ->> 'run')::uuid, e.member, e.n, CASE WHEN e.n = 1 THEN NEW.id END
    FROM jsonb_array_elements_text(g -> 'members') WITH ORDINALITY AS e(member, n);
  FOR m IN SELECT t.member FROM group_seat t WHERE t.run = (g ->> 'run')::uuid AND t.n > 1 ORDER BY t.n LOOP
    SELECT * INTO s FROM source x WHERE x.name = m.member AND x.retired_at IS NULL;
    IF s.no IS NULL THEN
      gone := coalesce(gone, format('%s is no source of the policy', m.member));
    ELSIF NEW.trigger = 'scheduled' AND s.paused_until > clock_timestamp() THEN
      gone := coalesce(gone, format('%s is paused', m.member));
    ELSE
      number := job_new('backup', NEW.trigger, s, NULL, NULL,
        jsonb_build_object('group', group_words(g ->> 'name', (g ->> 'run')::uuid, spec, false)), NULL, NEW.actor, NULL, NEW.priority,
        'pending', NEW.start_by, NULL, NULL);
      UPDATE group_seat SET job = number WHERE run = (g ->> 'run')::uuid AND member = m.member;
    END IF;
  END LOOP;
  IF gone IS NOT NULL THEN
    PERFORM group_break((g ->> 'run')::uuid, 'group.member_missing', gone);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER group_begin AFTER INSERT ON job FOR EACH ROW WHEN (NEW.kind = 'backup' AND NEW.params #> '{group,lead}' = 'true')
  EXECUTE FUNCTION group_begin();

-- --- a run goes on ----------------------------------------------------------------------------------

CREATE FUNCTION group_missing(p_run uuid, p_passed boolean) RETURNS text LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT string_agg(member, ', ' ORDER BY n) FROM group_seat WHERE run = p_run AND CASE WHEN p_passed THEN passed_at ELSE arrived_at END IS NULL $$;

-- One step of the member whose attempt holds its job: arrive, pass, look; of the lead also hold (all are there: the hook is
-- run next), held (it has), settle (all have passed: the barrier holds), released. break: it cannot go on, and why. A step
-- that does not fit the state changes nothing; any may be repeated. ready: all have arrived, or passed.
CREATE FUNCTION group_step(p_job bigint, p_attempt bigint, p_claim uuid, p_step text, p_text text)
  RETURNS TABLE (state text, ready boolean, why text, held_at text) LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, true);
  r group_run;
  me group_seat;
  lacking text;
  now_is timestamptz;
BEGIN
  PERFORM need_read_committed();
  PERFORM need_values(num_nulls(p_step), 'group_step');
  SELECT * INTO r FROM group_run x WHERE x.id = (j.params #>> '{group,run}')::uuid FOR UPDATE;
  SELECT * INTO me FROM group_seat x WHERE x.run = r.id AND x.job = p_job;
  IF me.run IS NULL THEN
    RETURN QUERY SELECT 'broken', false, 'the catalogue knows nothing of its run any more', NULL::text;
    RETURN;
  END IF;
  now_is := clock_timestamp(); -- once the row is ours
  IF r.due_at <= now_is AND r.state IN ('gathering', 'holding', 'held') THEN
    PERFORM group_break(r.id, CASE r.state WHEN 'gathering' THEN 'group.not_gathered' ELSE 'group.held_too_long' END,
      CASE r.state WHEN 'gathering' THEN format('%s did not come within %s s', group_missing(r.id, false), r.spec ->> 'gather_s')
        WHEN 'holding' THEN format('the application was not held within %s s', r.spec ->> 'timeout_s')
        ELSE format('%s had no instant within %s s', coalesce(group_missing(r.id, true), 'the lead'), r.spec ->> 'timeout_s') END);
  ELSIF me.attempt IS DISTINCT FROM p_attempt AND r.state <> 'broken' AND NOT (p_step = 'arrive' AND r.state = 'gathering' AND me.attempt IS NULL) THEN
    PERFORM group_break(r.id, 'group.member_lost', format('attempt %s of %s is over', coalesce(me.attempt, 0), me.member));
  ELSIF p_step = 'arrive' AND me.attempt IS NULL THEN
    UPDATE group_seat x SET attempt = p_attempt, arrived_at = now_is WHERE x.run = r.id AND x.job = p_job;
    UPDATE group_run x SET due_at = coalesce(x.due_at, now_is + make_interval(secs => (r.spec ->> 'gather_s')::float8)) WHERE x.id = r.id;
  ELSIF p_step = 'hold' AND r.lead = p_job AND r.state = 'gathering' AND group_missing(r.id, false) IS NULL THEN
    UPDATE group_run x SET state = 'holding', due_at = now_is + make_interval(secs => (r.spec ->> 'timeout_s')::float8) WHERE x.id = r.id;
  ELSIF p_step = 'held' AND r.lead = p_job AND r.state = 'holding' THEN
    UPDATE group_run x SET state = 'held', held_at = now_is, due_at = now_is + make_interval(secs => (r.spec ->> 'timeout_s')::float8) WHERE x.id = r.id;
  ELSIF p_step = 'pass' AND r.state = 'held' AND me.passed_at IS NULL THEN
    UPDATE group_seat x SET passed_at = now_is WHERE x.run = r.id AND x.job = p_job;
  ELSIF p_step = 'settle' AND r.lead = p_job AND r.state = 'held' AND group_missing(r.id, true) IS NULL THEN
    UPDATE group_run x SET state = 'passed', passed_at = now_is, due_at = NULL WHERE x.id = r.id;
  ELSIF p_step = 'break' AND r.state <> 'broken' THEN
    PERFORM group_break(r.id, 'group.member_failed', coalesce(p_text, me.member));
  ELSIF p_step NOT IN ('arrive', 'hold', 'held', 'pass', 'settle', 'break', 'released', 'look') THEN
    RAISE EXCEPTION 'a member of a group has no step %', p_step USING ERRCODE = 'HF004', DETAIL = 'group.step';
  END IF;
  IF p_step = 'released' AND r.lead = p_job THEN
    UPDATE group_run x SET released_at = coalesce(x.released_at, now_is) WHERE x.id = r.id;
  END IF;
  RETURN QUERY SELECT x.state, group_missing(x.id, x.state NOT IN ('gathering', 'holding')) IS NULL,
      coalesce(x.cause, group_missing(x.id, x.state NOT IN ('gathering', 'holding')), ''), rfc3339(x.held_at) FROM group_run x WHERE x.id = r.id;
END $$;

-- An attempt that ends without a whole backup takes the barrier with it: the next one reads another instant.
CREATE FUNCTION group_left() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  run uuid;
BEGIN
  SELECT r.id INTO run FROM group_seat t JOIN group_run r ON r.id = t.run WHERE t.job = NEW.id AND t.backup IS NULL FOR UPDATE OF r;
  IF run IS NOT NULL THEN
    PERFORM group_break(run, 'group.member_failed', format('%s of %s is %s', job_text(NEW.id), (SELECT name FROM source WHERE no = NEW.source),
      CASE WHEN NEW.state = 'pending' THEN 'to be tried again' ELSE NEW.state END));
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER group_left AFTER UPDATE OF state ON job FOR EACH ROW
  WHEN (NEW.kind = 'backup' AND NEW.params ? 'group' AND OLD.state IS DISTINCT FROM NEW.state
    AND (OLD.state = 'running' AND NEW.state NOT IN ('completed', 'partial') OR NEW.state IN ('failed', 'cancelled', 'skipped', 'missed')))
  EXECUTE FUNCTION group_left();

-- The backup of a member: it takes its seat.
CREATE FUNCTION group_take() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  g jsonb := NEW.receipt -> 'group';
  run uuid := (g ->> 'run')::uuid;
BEGIN
  INSERT INTO group_run(id, name, spec, state, made_at, held_at, passed_at)
    VALUES (run, g ->> 'name', jsonb_build_object('members', g -> 'members'), 'passed', NEW.started_at, (g ->> 'held_at')::timestamptz, (g ->> 'held_at')::timestamptz)
    ON CONFLICT DO NOTHING;
  INSERT INTO group_seat(run, member, n) SELECT run, e.member, e.n FROM jsonb_array_elements_text(g -> 'members') WITH ORDINALITY AS e(member, n)
    WHERE (SELECT r.lead FROM group_run r WHERE r.id = run) IS NULL ON CONFLICT DO NOTHING;
  UPDATE group_seat t SET backup = NEW.id FROM source s
    WHERE s.no = NEW.source AND t.run = (g ->> 'run')::uuid AND t.member = s.name AND t.backup IS NULL AND (t.job IS NULL OR t.job = NEW.job);
  RETURN NULL;
END $$;
CREATE TRIGGER group_take AFTER INSERT ON backup FOR EACH ROW WHEN (jsonb_typeof(NEW.receipt -> 'group') = 'object') EXECUTE FUNCTION group_take();

-- --- what there is ----------------------------------------------------------------------------------

-- A row a barrier. complete: each member's backup is whole and there; only that can be restored as one.
CREATE VIEW group_barriers AS
  SELECT r.id AS run, r.name AS group_name, r.made_at, coalesce(r.held_at, r.passed_at) AS at, r.released_at, r.lead AS job,
    CASE WHEN r.state = 'broken' THEN 'broken'
         WHEN bool_and(b.outcome = 'completed' AND b.deleted_at IS NULL) AND count(b.id) = count(*) THEN 'complete'
         WHEN bool_or(b.deleted_at IS NOT NULL) THEN 'gone'
         WHEN bool_or(b.outcome = 'partial') THEN 'partial' ELSE r.state END AS state,
    r.code, r.cause,
    jsonb_agg(jsonb_build_object('source', t.member, 'backup', CASE WHEN b.deleted_at IS NULL THEN backup_text(b.id) END,
      'job', job_text(coalesce(t.job, b.job)), 'state', b.outcome, 'consistent_at', rfc3339(b.consistent_at),
      'arrived_at', rfc3339(t.arrived_at), 'passed_at', rfc3339(t.passed_at)) ORDER BY t.n) AS members
  FROM group_run r JOIN group_seat t ON t.run = r.id LEFT JOIN backup b ON b.id = t.backup
  GROUP BY r.id;

CREATE OR REPLACE FUNCTION backup_json(b backup) RETURNS jsonb LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT jsonb_build_object('id', backup_text(b.id), 'source', s.name, 'type', s.type, 'state', b.outcome, 'job', job_text(b.job),
    'schedule', b.schedule, 'policy', b.policy, 'consistent_at', rfc3339(b.consistent_at), 'started_at', rfc3339(b.started_at),
    'committed_at', rfc3339(b.committed_at), 'position', nullif(b.position, ''), 'sequence', b.sequence, 'entries', b.entries,
    'bytes', b.bytes, 'new_bytes', b.new_bytes, 'stored_bytes', b.stored_bytes, 'store', r.store, 'repository', r.id,
    'key_set', nullif(b.key_set, ''), 'worker', w.name, 'issue_count', b.issue_count, 'marked', b.marker_at IS NOT NULL,
    'expires_at', rfc3339(b.expires_at), 'held_until', rfc3339(b.held_until), 'deleted_at', rfc3339(b.deleted_at),
    'group', b.receipt #>> '{group,name}', 'barrier', b.receipt #>> '{group,run}',
    'verified', (SELECT v.level || ' ' || v.result FROM verification v WHERE v.backup = b.id ORDER BY v.finished_at DESC, v.id DESC LIMIT 1))
  FROM source s, repository r, job_attempt a LEFT JOIN worker w ON w.no = a.worker
  WHERE s.no = b.source AND r.no = b.repository AND a.job = b.job AND a.attempt = b.attempt $$;

-- A group's name stands for its first member's job, which begins the run.
ALTER FUNCTION job_create(text, text, text, text, jsonb, text, text, int, timestamptz) RENAME TO job_create_one;
CREATE FUNCTION job_create(p_kind text, p_trigger text, p_source text, p_pool text, p_params jsonb, p_actor text, p_key text,
    p_priority int, p_start_by timestamptz) RETURNS TABLE (job bigint, pool int, again boolean) LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  g source_group;
BEGIN
  IF p_kind = 'backup' THEN
    SELECT * INTO g FROM source_group x WHERE x.name = p_source AND x.retired_at IS NULL;
  END IF;
  RETURN QUERY SELECT * FROM job_create_one(p_kind, p_trigger, coalesce(g.spec #>> '{members,0}', p_source), p_pool,
    CASE WHEN g.name IS NULL THEN p_params ELSE p_params || jsonb_build_object('group', g.name) END, p_actor, p_key, p_priority, p_start_by);
END $$;

-- --- what stays -------------------------------------------------------------------------------------

-- A barrier is whole or gone: the first member's backup goes by its rules, the others stay as long as it is there.
CREATE FUNCTION group_keeps(p_backup uuid) RETURNS boolean LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT EXISTS (SELECT FROM group_seat t JOIN group_seat f ON f.run = t.run AND f.n = 1 JOIN backup b ON b.id = f.backup AND b.deleted_at IS NULL
    WHERE t.backup = p_backup AND t.n > 1) $$;

CREATE OR REPLACE FUNCTION retention_backups(p_source int, p_repository int)
  RETURNS TABLE (id uuid, at timestamptz, started_at timestamptz, committed_at timestamptz, sequence bigint, schedule text, quality int,
    proved boolean, in_use boolean, held_until timestamptz, locked_until timestamptz, bytes bigint, outcome text)
  LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT b.id, b.consistent_at, b.started_at, b.committed_at, b.sequence, b.schedule,
    CASE WHEN b.outcome <> 'completed' THEN 3 WHEN place_good(b.id, p_repository) THEN 1 ELSE 2 END,
    EXISTS (SELECT FROM verification v WHERE v.backup = b.id AND v.repository = p_repository AND v.level IN ('content', 'restore', 'query') AND v.result = 'ok'),
    EXISTS (SELECT FROM job j WHERE j.source = p_source AND j.state IN ('pending', 'queued', 'running') AND j.backup = b.id) OR log_needed(b.id)
      OR group_keeps(b.id),
    b.held_until, b.locked_until, b.bytes, b.outcome
  FROM backup b LEFT JOIN backup_copy c ON c.backup = b.id AND c.repository = p_repository AND c.deleted_at IS NULL
  WHERE b.source = p_source AND (b.repository = p_repository AND b.deleted_at IS NULL AND b.left_at IS NULL OR c.backup IS NOT NULL)
  ORDER BY b.consistent_at, b.sequence $$;

CREATE OR REPLACE FUNCTION retention_take(p_job bigint, p_attempt bigint, p_claim uuid) RETURNS TABLE (backup uuid, reason text)
  LANGUAGE sql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
  SELECT t.backup, t.reason FROM retention_take_any(p_job, p_attempt, p_claim) t WHERE NOT log_needed(t.backup) AND NOT group_keeps(t.backup) $$;

REVOKE ALL ON FUNCTION groups_apply, group_words, group_ask, group_break, group_begin, group_missing, group_step, group_left, group_take, group_keeps,
  job_create FROM PUBLIC;
GRANT EXECUTE ON FUNCTION group_step TO holdfast_worker;
GRANT EXECUTE ON FUNCTION group_keeps, job_create TO holdfast_scheduler;
GRANT SELECT ON source_group, group_run, group_seat TO holdfast_scheduler;
GRANT SELECT ON group_barriers TO holdfast_scheduler, holdfast_auditor;
