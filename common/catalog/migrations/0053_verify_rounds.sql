-- Checks that come due by themselves. A verify job without a backup is a round over the packs that a source's backups
-- name in one repository: all of them, or as many, those seen longest ago first, that each is seen within a stated time.
-- What a round looks at is written down when it begins, so that the next attempt goes on where a dead one stopped.
-- When it ends, each backup whose packs have all been seen gets its verification, and so does one that has lost chunks.
ALTER TABLE pack ADD COLUMN checked_at timestamptz;                    -- its stored object was last read and hashed whole
INSERT INTO setting VALUES ('verify_overdue_s', 86400, 'a scheduled verification that is later than this needs attention');

CREATE TABLE verify_round (
  job         bigint PRIMARY KEY REFERENCES job,
  source      int NOT NULL REFERENCES source,
  repository  int NOT NULL REFERENCES repository,
  level       text NOT NULL CHECK (level IN ('stored', 'content')),
  within_s    bigint CHECK (within_s > 0),                             -- NULL: every pack in each round
  started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  ended_at    timestamptz,
  known       bigint NOT NULL,                                         -- packs that the source's backups name there
  known_bytes bigint NOT NULL,
  packs       bigint NOT NULL,                                         -- of these the round looks at
  bytes       bigint NOT NULL,
  done        bigint NOT NULL DEFAULT 0,
  done_bytes  bigint NOT NULL DEFAULT 0,
  failed      bigint NOT NULL DEFAULT 0,                               -- backups that have lost something
  oldest_at   timestamptz);                                            -- when the pack was seen that nobody has seen for longest
CREATE INDEX verify_round_of_source ON verify_round(source, repository, level, started_at);
CREATE TABLE verify_todo (
  job     bigint REFERENCES verify_round ON DELETE CASCADE,
  n       bigint,
  pack_no bigint NOT NULL,
  PRIMARY KEY (job, n));
CREATE INDEX verify_todo_pack ON verify_todo(job, pack_no);

-- --- which jobs there are ---------------------------------------------------------------------------

-- A round is about one repository: the first of its schedule's stores, or the source's own. It is tried again as a
-- backup is, and waits where somebody is who can do it.
CREATE FUNCTION verify_place(p_source int, p_stores jsonb, p_not int) RETURNS SETOF int LANGUAGE sql STABLE
  SET search_path = holdfast, pg_temp AS $$
  SELECT r.no FROM source s JOIN repository r ON r.key_set = coalesce(s.spec ->> 'key_set', '')
  WHERE s.no = p_source AND r.no IS DISTINCT FROM p_not AND (p_stores IS NULL OR p_stores ? r.store)
    AND (r.no = s.repository
      OR EXISTS (SELECT FROM jsonb_array_elements(coalesce(s.spec -> 'copies', '[]')) c
        WHERE c ->> 'store' = r.store AND c ->> 'layout' IS DISTINCT FROM 'plain')
      OR EXISTS (SELECT FROM backup_place b WHERE b.source = s.no AND b.repository = r.no AND b.deleted_at IS NULL))
  ORDER BY r.no <> s.repository, r.no $$;

CREATE FUNCTION verify_round_waits() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  retry jsonb;
BEGIN
  SELECT coalesce(s.spec -> 'retry', '{}') INTO retry FROM source s WHERE s.no = NEW.source;
  NEW.params := NEW.params || '{"round": true}';
  NEW.repository := coalesce(NEW.repository, (SELECT * FROM verify_place(NEW.source, NEW.params -> 'stores', NULL) LIMIT 1));
  NEW.max_failures := greatest(coalesce((retry ->> 'attempts')::int, 3), 1);
  NEW.pool := CASE WHEN NEW.params ? 'pool' THEN pool_named(NEW.params ->> 'pool') ELSE copy_pool(NEW) END;
  RETURN NEW;
END $$;
CREATE TRIGGER verify_round_waits BEFORE INSERT ON job FOR EACH ROW
  WHEN (NEW.kind = 'verify' AND NEW.source IS NOT NULL AND NEW.backup IS NULL AND NEW.finished_at IS NULL) EXECUTE FUNCTION verify_round_waits();

CREATE FUNCTION verify_round_copies() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  s source;
BEGIN
  SELECT * INTO s FROM source WHERE no = NEW.source;
  PERFORM job_new('verify', NEW.trigger, s, NULL, NULL, NEW.params || '{"copy": true}', NULL, NEW.actor, NULL, NEW.priority::int, 'pending', NULL, p.no, NULL)
    FROM verify_place(NEW.source, NEW.params -> 'stores', NEW.repository) p(no)
    WHERE NOT EXISTS (SELECT FROM job j WHERE j.kind = 'verify' AND j.source = s.no AND j.repository = p.no AND j.params ? 'copy'
      AND j.params ->> 'level' = NEW.params ->> 'level' AND j.state IN ('pending', 'queued', 'running'));
  RETURN NULL;
END $$;
CREATE TRIGGER verify_round_copies AFTER INSERT ON job FOR EACH ROW
  WHEN (NEW.kind = 'verify' AND NEW.source IS NOT NULL AND NEW.backup IS NULL AND NEW.finished_at IS NULL AND NOT NEW.params ? 'copy')
  EXECUTE FUNCTION verify_round_copies();

-- A round now, by hand.
CREATE FUNCTION verify_ask(p_source text, p_level text, p_store text, p_within_s bigint, p_pool text, p_actor text, p_key text)
  RETURNS TABLE (job bigint, pool int, again boolean) LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  s source;
  known job;
  number bigint;
BEGIN
  PERFORM need_values(num_nulls(p_source, p_level, p_actor), 'verify_ask');
  IF p_key IS NOT NULL THEN
    PERFORM pg_advisory_xact_lock(hashtextextended('holdfast.key ' || p_actor || ' ' || p_key, 0));
    SELECT * INTO known FROM job j WHERE j.actor = p_actor AND j.idempotency_key = p_key;
    IF FOUND THEN
      RETURN QUERY SELECT known.id, known.pool, true;
      RETURN;
    END IF;
  END IF;
  SELECT * INTO s FROM source x WHERE x.name = p_source;
  IF s.no IS NULL THEN
    RAISE EXCEPTION 'no source is called %', p_source USING ERRCODE = 'HF002', DETAIL = 'source.unknown';
  ELSIF p_level NOT IN ('stored', 'content') THEN
    RAISE EXCEPTION 'a round checks `stored` or `content`, not %', p_level USING ERRCODE = 'HF004', DETAIL = 'verify.level';
  ELSIF p_store IS NOT NULL AND NOT EXISTS (SELECT FROM verify_place(s.no, jsonb_build_array(p_store), NULL)) THEN
    RAISE EXCEPTION 'no backup of % lies in a store called %', p_source, p_store USING ERRCODE = 'HF002', DETAIL = 'store.unknown';
  ELSIF p_pool IS NOT NULL AND NOT EXISTS (SELECT FROM pool x WHERE x.name = p_pool) THEN
    RAISE EXCEPTION 'no pool is called %', p_pool USING ERRCODE = 'HF002', DETAIL = 'pool.unknown';
  END IF;
  number := job_new('verify', 'manual', s, NULL, NULL, jsonb_strip_nulls(jsonb_build_object('level', p_level, 'within_s', p_within_s, 'pool', p_pool,
    'stores', CASE WHEN p_store IS NOT NULL THEN jsonb_build_array(p_store) END)), NULL, p_actor, p_key, 0, 'pending', NULL, NULL, NULL);
  RETURN QUERY SELECT number, (SELECT x.pool FROM job x WHERE x.id = number), false;
END $$;

-- Rounds that wait go where a fit worker is, unless their policy names a pool.
CREATE FUNCTION verify_rounds_move() RETURNS void LANGUAGE sql SET search_path = holdfast, pg_temp AS $$
  UPDATE job j SET pool = copy_pool(j) WHERE j.kind = 'verify' AND j.params ? 'round' AND NOT j.params ? 'pool' AND j.state = 'pending'
    AND j.pool IS DISTINCT FROM copy_pool(j) $$;

-- As before; and a round stands behind another of its own schedule alone: checks of stored objects and of content
-- that are due at the same time are two things.
CREATE OR REPLACE FUNCTION slots_fire(p_sources int[], p_schedules text[], p_olds timestamptz[], p_slots timestamptz[], p_start_bys timestamptz[],
    p_missed boolean[], p_codes text[], p_texts text[]) RETURNS TABLE (n bigint, job bigint, state text)
  LANGUAGE plpgsql SET search_path = holdfast, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
  late timestamptz;
  now_is timestamptz := clock_timestamp();
BEGIN
  SELECT max(x) INTO late FROM unnest(p_slots) x;
  IF late > now_is + interval '1 minute' THEN
    RAISE EXCEPTION 'slot % is in the future', late USING ERRCODE = 'HF004', DETAIL = 'slot.future';
  END IF;
  -- Two schedulers lock the rows in one order.
  PERFORM FROM schedule c JOIN (SELECT DISTINCT src, name FROM unnest(p_sources, p_schedules) AS d(src, name)) d
    ON c.source = d.src AND c.name = d.name ORDER BY c.source, c.name FOR UPDATE OF c;
  RETURN QUERY
  WITH asked AS (
    SELECT src, name, (array_agg(old ORDER BY n))[1] AS old, max(slot) AS newest, array_agg(n ORDER BY n) AS ns, array_agg(slot ORDER BY n) AS slots,
      array_agg(start_by ORDER BY n) AS start_bys, array_agg(missed ORDER BY n) AS missed, array_agg(code ORDER BY n) AS codes,
      array_agg(text ORDER BY n) AS texts
    FROM unnest(p_sources, p_schedules, p_olds, p_slots, p_start_bys, p_missed, p_codes, p_texts) WITH ORDINALITY
      AS u(src, name, old, slot, start_by, missed, code, text, n) GROUP BY src, name),
  -- The compare-and-set, once a schedule.
  won AS (
    UPDATE schedule c SET last_slot = a.newest FROM asked a, source s
      WHERE c.source = a.src AND c.name = a.name AND c.last_slot IS NOT DISTINCT FROM a.old AND s.no = a.src AND s.retired_at IS NULL
      RETURNING a.*, c.kind, c.params, c.overlap_skip, s.pool, s.spec -> 'retry' AS retry, s.paused_until > now_is AS paused, s.paused_reason),
  seen AS (
    SELECT nextval('job_id_seq') AS id, x.*,
      EXISTS (SELECT FROM job j WHERE j.source = x.src AND j.schedule = x.name AND j.slot = x.slot) AS known
    FROM (SELECT w.src, w.name, w.kind, w.params, w.overlap_skip, w.pool, w.retry, w.paused_reason, u.*, live.id AS live, live.state AS live_state,
        waits.id AS waits,
        CASE WHEN u.code = 'slot.excluded' THEN u.code WHEN u.missed THEN coalesce(nullif(u.code, ''), 'slot.missed')
             WHEN w.paused THEN 'source.paused' END AS kept
      FROM won w CROSS JOIN LATERAL unnest(w.ns, w.slots, w.start_bys, w.missed, w.codes, w.texts) AS u(n, slot, start_by, missed, code, text)
        LEFT JOIN LATERAL (SELECT j.id, j.state FROM job j WHERE j.source = w.src AND j.kind = w.kind
          AND (w.kind <> 'verify' OR j.schedule = w.name) AND j.state IN ('pending', 'queued', 'running') ORDER BY j.id LIMIT 1) live ON true
        LEFT JOIN LATERAL (SELECT j.id FROM job j WHERE j.source = w.src AND j.schedule = w.name AND j.kind = w.kind
          AND j.state IN ('pending', 'queued') ORDER BY j.id LIMIT 1) waits ON true
      ORDER BY u.n) x),
  -- The first of its schedule, and of its source and kind, that could run.
  placed AS (
    SELECT x.*, min(x.id) FILTER (WHERE x.kept IS NULL AND NOT x.known) OVER (PARTITION BY x.src, x.name) AS first_here,
      min(x.id) FILTER (WHERE x.kept IS NULL AND NOT x.known) OVER (PARTITION BY x.src, x.kind, CASE WHEN x.kind = 'verify' THEN x.name END) AS first_of_source
    FROM seen x),
  judged AS (
    SELECT x.*, x.kept IS NULL AND x.id = x.first_here AND x.waits IS NULL AND
      (NOT x.overlap_skip OR x.live IS NULL AND x.id = x.first_of_source) AS goes FROM placed x),
  behind AS MATERIALIZED (
    SELECT x.*, CASE WHEN x.goes THEN 'pending' WHEN x.missed AND x.kept <> 'slot.excluded' THEN 'missed' ELSE 'skipped' END AS made_as,
      -- Which job of this call it stands behind, by its source and by its schedule.
      min(x.id) FILTER (WHERE x.goes) OVER (PARTITION BY x.src, x.kind, CASE WHEN x.kind = 'verify' THEN x.name END) AS runs_of_source,
      min(x.id) FILTER (WHERE x.goes) OVER (PARTITION BY x.src, x.name) AS runs_here
    FROM judged x),
  made AS (
    INSERT INTO job(id, kind, trigger, source, schedule, slot, params, pool, actor, priority, state, start_by, lanes, max_failures, backoff_s,
        max_backoff_s, jitter, finished_at, created_at, run_at) OVERRIDING SYSTEM VALUE
      SELECT x.id, x.kind, 'scheduled', x.src, x.name, x.slot, x.params, x.pool, 'scheduler', 0, x.made_as, x.start_by,
        CASE WHEN x.kind = 'backup' THEN 1 ELSE 0 END,
        CASE WHEN x.kind IN ('backup', 'copy', 'prune', 'retention', 'health') THEN greatest(coalesce((x.retry ->> 'attempts')::int, 3), 1) ELSE 1 END,
        coalesce((x.retry ->> 'backoff_s')::float8, 120), coalesce((x.retry ->> 'max_backoff_s')::float8, 1800),
        coalesce(x.retry ->> 'jitter', 'equal') <> 'none', CASE WHEN NOT x.goes THEN now_is END, now_is, now_is
      FROM behind x WHERE NOT x.known
      ON CONFLICT (source, schedule, slot) DO NOTHING RETURNING id),
  told AS (
    INSERT INTO decision(source, schedule, slot, job, verdict, code, text)
      SELECT x.src, x.name, x.slot, x.id, CASE WHEN x.goes THEN 'ran' ELSE x.made_as END,
        CASE WHEN x.goes THEN x.code ELSE coalesce(x.kept, CASE WHEN o.held IS NOT NULL THEN 'overlap' ELSE 'slot.waiting' END) END,
        CASE WHEN x.goes OR x.kept = 'slot.excluded' THEN x.text
             WHEN x.made_as = 'missed' THEN coalesce(nullif(x.text, ''), 'no scheduler was there in time')
             WHEN x.kept IS NOT NULL THEN coalesce('paused: ' || nullif(x.paused_reason, ''), 'its source is paused')
             WHEN o.held IS NOT NULL THEN format('%s is still %s', job_text(o.held), coalesce(x.live_state, 'pending'))
             ELSE format('%s of this schedule still waits, and stands for it', job_text(coalesce(x.waits, x.runs_here))) END
      FROM behind x CROSS JOIN LATERAL (SELECT CASE WHEN x.overlap_skip THEN
          coalesce(x.live, CASE WHEN x.runs_of_source < x.id THEN x.runs_of_source END) END AS held) o
      WHERE (NOT x.goes OR x.code <> '') AND x.id IN (SELECT id FROM made))
  SELECT x.n, x.id, x.made_as FROM behind x WHERE x.id IN (SELECT id FROM made);
END $$;

-- --- a round ----------------------------------------------------------------------------------------

-- When a pack was last seen as this level sees it; what was seen before its store was set back was another object.
CREATE FUNCTION pack_seen(p pack, p_level text, p_set_back timestamptz) RETURNS timestamptz LANGUAGE sql IMMUTABLE
  SET search_path = holdfast, pg_temp AS $$
  SELECT CASE WHEN x.at > coalesce(p_set_back, '-infinity') THEN x.at END
  FROM (SELECT CASE p_level WHEN 'stored' THEN greatest(p.checked_at, p.verified_at) ELSE p.verified_at END AS at) x $$;

CREATE FUNCTION verify_fence(p_job bigint, p_attempt bigint, p_claim uuid, p_lock boolean) RETURNS session LANGUAGE plpgsql
  SET search_path = holdfast, pg_temp AS $$
DECLARE
  me worker := worker_me();
  j job := fence_job(p_job, p_attempt, p_claim, p_lock);
BEGIN
  IF j.kind IS DISTINCT FROM 'verify' OR j.backup IS NOT NULL OR j.source IS NULL THEN
    RAISE EXCEPTION 'job % is no round over a source', p_job USING ERRCODE = 'HF005', DETAIL = 'job.no_round';
  ELSIF j.params ->> 'level' IS DISTINCT FROM 'stored' AND NOT me.reader THEN
    RAISE EXCEPTION 'only an enrolled reader can check content' USING ERRCODE = 'HF005', DETAIL = 'job.not_a_reader';
  END IF;
  RETURN fence_session(p_job, p_attempt);
END $$;

-- What there is to do. A later attempt of the same job finds what the first one chose, without what is done.
CREATE FUNCTION verify_begin(p_job bigint, p_attempt bigint, p_claim uuid)
  RETURNS TABLE (packs bigint, bytes bigint, done bigint, done_bytes bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
  s session := verify_fence(p_job, p_attempt, p_claim, true);
  j job;
  back timestamptz;
  nos bigint[];                                                        -- packs, their bytes, and when each was last seen
  sizes bigint[];
  seens timestamptz[];
  span interval;                                                       -- within which each pack is seen
  gap interval;                                                        -- since the round before, and so until the next
BEGIN
  IF NOT EXISTS (SELECT FROM verify_round v WHERE v.job = p_job) THEN
    SELECT * INTO j FROM job x WHERE x.id = p_job;
    SELECT r.set_back_at INTO back FROM repository r WHERE r.no = s.repository;
    span := make_interval(secs => (j.params ->> 'within_s')::float8);
    SELECT coalesce(array_agg(p.no), '{}'), coalesce(array_agg(p.bytes), '{}'),
        coalesce(array_agg(coalesce(pack_seen(p, j.params ->> 'level', back), p.begun_at)), '{}') INTO nos, sizes, seens
      FROM (SELECT DISTINCT u.no FROM backup_place b CROSS JOIN LATERAL unnest(b.packs) u(no)
            WHERE b.source = j.source AND b.repository = s.repository AND b.deleted_at IS NULL) n
      JOIN pack p ON p.no = n.no
      WHERE p.repository = s.repository AND p.state IN ('live', 'condemned') AND p.sha256 IS NOT NULL AND p.damaged_at IS NULL;
    SELECT least(clock_timestamp() - coalesce(max(v.started_at), (SELECT min(x) FROM unnest(seens) x)), span) INTO gap
      FROM verify_round v WHERE v.source = j.source AND v.repository = s.repository AND v.level = j.params ->> 'level' AND v.ended_at IS NOT NULL;
    INSERT INTO verify_round(job, source, repository, level, within_s, known, known_bytes, packs, bytes)
      SELECT p_job, j.source, s.repository, j.params ->> 'level', (j.params ->> 'within_s')::bigint, count(*), coalesce(sum(x), 0), 0, 0
      FROM unnest(sizes) x;
    -- Its share, by bytes, so that the work is even; and whatever would be too late for the next round.
    INSERT INTO verify_todo(job, n, pack_no)
      SELECT p_job, x.n, x.no FROM (
        SELECT y.*, row_number() OVER w AS n, sum(y.bytes) OVER w - y.bytes AS before, sum(y.bytes) OVER () AS total
        FROM unnest(nos, sizes, seens) AS y(no, bytes, seen) WINDOW w AS (ORDER BY y.seen, y.no)) x
      WHERE span IS NULL OR x.before < x.total * (extract(epoch FROM gap) / extract(epoch FROM span)) OR x.seen + span <= clock_timestamp() + gap;
    UPDATE verify_round v SET packs = x.n, bytes = x.bytes
      FROM (SELECT count(*) AS n, coalesce(sum(p.bytes), 0) AS bytes FROM verify_todo t JOIN pack p ON p.no = t.pack_no WHERE t.job = p_job) x
      WHERE v.job = p_job;
  END IF;
  RETURN QUERY SELECT v.packs, v.bytes, v.done, v.done_bytes FROM verify_round v WHERE v.job = p_job;
END $$;

CREATE FUNCTION verify_next(p_job bigint, p_attempt bigint, p_claim uuid, p_after bigint, p_most int)
  RETURNS TABLE (n bigint, no bigint, object uuid, pack uuid, kind text, bytes bigint, sha256 bytea)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  s session := verify_fence(p_job, p_attempt, p_claim, false);
BEGIN
  PERFORM need_values(num_nulls(p_after, p_most), 'verify_next');
  RETURN QUERY SELECT t.n, p.no, p.object, p.pack, p.kind, p.bytes, p.sha256 FROM verify_todo t JOIN pack p ON p.no = t.pack_no
    WHERE t.job = p_job AND t.n > p_after AND p.repository = s.repository AND p.state IN ('live', 'condemned') AND p.damaged_at IS NULL
    ORDER BY t.n LIMIT p_most;
END $$;

-- These stored objects are what their rows say; of content, every chunk of them too, as pack_verified has it.
CREATE FUNCTION verify_seen(p_job bigint, p_attempt bigint, p_claim uuid, p_nos bigint[], p_sha256s bytea[]) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  s session := verify_fence(p_job, p_attempt, p_claim, true);
  content boolean := (SELECT v.level = 'content' FROM verify_round v WHERE v.job = p_job);
  changed bigint;
  size bigint;
BEGIN
  PERFORM need_values(num_nulls(p_nos, p_sha256s, content), 'verify_seen');
  WITH seen AS (
      UPDATE pack p SET checked_at = clock_timestamp(), verified_at = CASE WHEN content THEN clock_timestamp() ELSE p.verified_at END
      FROM unnest(p_nos, p_sha256s) AS x(no, sha256)
      WHERE p.no = x.no AND p.sha256 IS NOT DISTINCT FROM x.sha256 AND p.repository = s.repository
        AND p.state IN ('live', 'condemned') AND p.damaged_at IS NULL RETURNING p.no, p.bytes),
    done AS (DELETE FROM verify_todo t USING seen WHERE t.job = p_job AND t.pack_no = seen.no RETURNING seen.bytes)
    SELECT count(*), coalesce(sum(d.bytes), 0) INTO changed, size FROM done d;
  UPDATE verify_round SET done = done + changed, done_bytes = done_bytes + size WHERE job = p_job;
  RETURN changed;
END $$;

-- The round's word on each backup: failed, where it names damaged packs that hold chunks which nothing else holds;
-- ok, where all else it names was seen in time. Answers what is lost, a row for each such pack and backup.
CREATE FUNCTION verify_end(p_job bigint, p_attempt bigint, p_claim uuid)
  RETURNS TABLE (backup uuid, object uuid, chunks bigint, proved bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
  s session := verify_fence(p_job, p_attempt, p_claim, true);
  me worker := worker_me();
  v verify_round;
  since timestamptz;
  back timestamptz;
  hurt bigint[];                                                       -- damaged packs, and how much of each is nowhere else
  lost bigint[];
  oks bigint;
BEGIN
  SELECT * INTO v FROM verify_round x WHERE x.job = p_job;
  IF v.job IS NULL THEN
    RAISE EXCEPTION 'job % began no round', p_job USING ERRCODE = 'HF004', DETAIL = 'verify.order';
  END IF;
  SELECT r.set_back_at INTO back FROM repository r WHERE r.no = s.repository;
  since := CASE WHEN v.within_s IS NULL THEN v.started_at ELSE clock_timestamp() - make_interval(secs => v.within_s) END;
  SELECT coalesce(array_agg(p.no), '{}'), coalesce(array_agg(l.lost), '{}') INTO hurt, lost
    FROM pack p CROSS JOIN LATERAL pack_lost_chunks(p.repository, p.no) l
    WHERE p.repository = s.repository AND p.damaged_at IS NOT NULL AND p.state <> 'deleted';
  WITH judged AS (
      SELECT b.backup, count(*) FILTER (WHERE h.lost > 0) AS bad, max(p.damaged_at) FILTER (WHERE h.lost > 0) AS bad_at, count(*) AS named,
        min(coalesce(pack_seen(p, v.level, back), '-infinity')) FILTER (WHERE h.no IS NULL) AS seen
      FROM backup_place b CROSS JOIN LATERAL unnest(b.packs) u(no) JOIN pack p ON p.no = u.no
        LEFT JOIN unnest(hurt, lost) AS h(no, lost) ON h.no = u.no
      WHERE b.source = v.source AND b.repository = s.repository AND b.deleted_at IS NULL GROUP BY b.backup),
    told AS (
      INSERT INTO verification(backup, repository, job, level, result, started_at, worker, checks)
        SELECT x.backup, s.repository, p_job, v.level, CASE WHEN x.bad > 0 THEN 'failed' ELSE 'ok' END, v.started_at, me.no,
          jsonb_build_object('level', v.level, 'round', true, 'packs', x.named, 'damaged', x.bad)
        FROM judged x LEFT JOIN LATERAL (SELECT f.result, f.finished_at FROM verification f WHERE f.backup = x.backup
            AND f.repository = s.repository AND f.level = v.level ORDER BY f.id DESC LIMIT 1) l ON true
        WHERE CASE WHEN x.bad > 0 THEN l.result IS DISTINCT FROM 'failed' OR l.finished_at < x.bad_at
          ELSE coalesce(x.seen, 'infinity') >= since AND (l.result IS DISTINCT FROM 'ok' OR l.finished_at < x.seen) END
        RETURNING result)
    SELECT count(*) FILTER (WHERE result = 'ok') INTO oks FROM told;
  UPDATE verify_round x SET ended_at = clock_timestamp(),
      failed = (SELECT count(*) FROM backup_place b WHERE b.source = v.source AND b.repository = s.repository AND b.deleted_at IS NULL
        AND EXISTS (SELECT FROM unnest(hurt, lost) AS h(no, lost) WHERE h.lost > 0 AND h.no = ANY (b.packs))),
      oldest_at = (SELECT min(coalesce(pack_seen(p, v.level, back), p.begun_at)) FROM pack p WHERE p.damaged_at IS NULL
        AND p.no IN (SELECT u.no FROM backup_place b CROSS JOIN LATERAL unnest(b.packs) u(no)
          WHERE b.source = v.source AND b.repository = s.repository AND b.deleted_at IS NULL)) WHERE x.job = p_job;
  DELETE FROM verify_todo t WHERE t.job = p_job;
  RETURN QUERY SELECT b.backup, p.object, h.lost, oks FROM (SELECT 1) one
    LEFT JOIN (unnest(hurt, lost) AS h(no, lost) JOIN backup_place b ON b.repository = s.repository AND b.source = v.source AND b.deleted_at IS NULL
      AND h.lost > 0 AND b.packs @> ARRAY[h.no] JOIN pack p ON p.no = h.no) ON true
    ORDER BY b.backup, p.object;
END $$;

-- --- what is late -----------------------------------------------------------------------------------

-- One row a source, level and repository that a schedule checks.
CREATE VIEW verify_facts AS
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
  WHERE c.kind = 'verify';

CREATE FUNCTION verify_json(f verify_facts) RETURNS jsonb LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT jsonb_build_object('source', f.source, 'store', f.store, 'level', f.level, 'schedule', f.schedule, 'rule', f.rule,
    'within_seconds', f.within_s, 'job', job_text(f.job), 'started_at', rfc3339(f.started_at), 'ended_at', rfc3339(f.ended_at), 'packs', f.known,
    'seen', f.done, 'failed', f.failed, 'oldest_at', rfc3339(f.oldest_at), 'overdue', f.overdue,
    'state', CASE WHEN f.failed > 0 THEN 'failed' WHEN f.overdue IS NOT NULL THEN 'overdue' WHEN f.job IS NULL THEN 'waiting' ELSE 'ok' END) $$;

REVOKE ALL ON FUNCTION verify_fence, pack_seen, verify_begin, verify_next, verify_seen, verify_end, verify_place, verify_ask, verify_rounds_move FROM PUBLIC;
GRANT EXECUTE ON FUNCTION verify_begin, verify_next, verify_seen, verify_end TO holdfast_worker;
GRANT EXECUTE ON FUNCTION verify_json, verify_place, verify_ask, verify_rounds_move, copy_pool TO holdfast_scheduler;
GRANT SELECT ON verify_round, verify_todo, verify_facts TO holdfast_scheduler;
GRANT SELECT ON verify_facts TO holdfast_auditor;
GRANT UPDATE (checked_at) ON pack TO holdfast_scheduler;
