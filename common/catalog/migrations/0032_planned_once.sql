-- A function in SQL that cannot be taken into the statement around it is parsed and planned at each call; one
-- in PL/pgSQL once a connection. A claim called eight of the former, which was most of what it cost.
-- Nor does it set a path where it names its tables whole.
CREATE OR REPLACE FUNCTION decide(p_job holdfast.job, p_verdict text, p_code text, p_text text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO holdfast.decision(source, schedule, slot, job, verdict, code, text)
    VALUES (p_job.source, p_job.schedule, p_job.slot, p_job.id, p_verdict, p_code, p_text)
    ON CONFLICT (job, code) WHERE job IS NOT NULL
    DO UPDATE SET count = decision.count + 1, last_at = clock_timestamp(), text = excluded.text, verdict = excluded.verdict;
END $$;

CREATE OR REPLACE FUNCTION worker_serves(me holdfast.worker, p_pool int, p_source int) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF p_pool = ANY (me.pools) THEN
    RETURN true;
  END IF;
  RETURN cardinality(me.sources) > 0 AND EXISTS (SELECT FROM holdfast.source s WHERE s.no = p_source AND s.name = ANY (me.sources));
END $$;

CREATE OR REPLACE FUNCTION job_domains(j holdfast.job) RETURNS int[] LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN (SELECT CASE WHEN s.spec ->> 'dedup' = 'repository' THEN ARRAY[0, s.no] ELSE ARRAY[s.no] END FROM holdfast.source s WHERE s.no = j.source);
END $$;

CREATE OR REPLACE FUNCTION job_scopes(j holdfast.job) RETURNS text[] LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF j.trigger = 'emergency' THEN
    RETURN '{}';
  END IF;
  RETURN (SELECT coalesce(array_agg(x.scope ORDER BY x.scope COLLATE "C"), '{}') FROM (
    SELECT 'pool:' || p.name AS scope FROM holdfast.pool p WHERE p.no = j.pool
    UNION SELECT unnest(s.scopes) FROM holdfast.source s WHERE s.no = j.source AND j.kind = 'backup') x
    WHERE EXISTS (SELECT FROM holdfast.limit_slot l WHERE l.scope = x.scope));
END $$;

CREATE OR REPLACE FUNCTION job_rate(j holdfast.job, p_own bigint) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN (SELECT coalesce(min(x.rate), 0) FROM (
    SELECT nullif(p_own, 0) AS rate
    UNION ALL SELECT greatest(w.rate / w.n, 1) FROM holdfast.limit_slot l JOIN holdfast.limit_wanted w ON w.scope = l.scope
      WHERE l.job = j.id AND w.rate IS NOT NULL) x);
END $$;

CREATE OR REPLACE FUNCTION job_shut(j holdfast.job) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF j.kind <> 'backup' OR j.trigger = 'emergency' THEN
    RETURN NULL;
  END IF;
  RETURN (SELECT w.words FROM holdfast.source_window w JOIN holdfast.source s ON s.no = w.source
    WHERE w.source = j.source AND w.method = coalesce(j.params ->> 'method', s.spec ->> 'method', '')
      AND (NOT w.open OR w.until <= clock_timestamp() OR w.since > clock_timestamp()));
END $$;

CREATE OR REPLACE FUNCTION policy_mark() RETURNS bigint LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN coalesce((SELECT hashtextextended(concat_ws(' ', no, digest, extract(epoch FROM applied_at)), 0) & 9223372036854775807
                   FROM holdfast.policy_version ORDER BY no DESC LIMIT 1), 0);
END $$;

CREATE OR REPLACE FUNCTION setting_of(p_name text) RETURNS double precision LANGUAGE plpgsql STABLE AS $$
DECLARE
  found_value double precision;
BEGIN
  SELECT value INTO found_value FROM holdfast.setting WHERE name = p_name;
  IF found_value IS NULL THEN
    RAISE EXCEPTION 'no setting is called %', p_name USING ERRCODE = 'HF002', DETAIL = 'setting.unknown';
  END IF;
  RETURN found_value;
END $$;

CREATE OR REPLACE FUNCTION job_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM holdfast.lifecycle WHERE from_state = OLD.state AND to_state = NEW.state) THEN
    RAISE EXCEPTION 'job % cannot go from % to %', OLD.id, OLD.state, NEW.state USING ERRCODE = 'check_violation';
  END IF;
  RETURN NEW;
END $$;

ALTER FUNCTION credentials_in RESET search_path; -- it names no table; so it is taken into the statement around it
ALTER FUNCTION need_read_committed RESET search_path;
ALTER FUNCTION need_values RESET search_path;

-- What is due, as before; limits only of the sources that are due, not of ten thousand for one.
CREATE OR REPLACE FUNCTION dispatch_due(p_pool int, p_urgent_only boolean, p_scopes text[], p_room int[], p_from bigint, p_most bigint)
  RETURNS TABLE (id bigint, dispatch bigint, source int, lanes smallint, band int, busy boolean, again boolean, ks int[], need text, owner text, turn bigint, depth bigint)
  LANGUAGE sql STABLE AS $$
  WITH due AS MATERIALIZED (
    SELECT j.id, j.dispatch, j.source, j.lanes, j.run_at, coalesce(s.owner, '') AS owner,
      CASE WHEN j.trigger = 'emergency' THEN 2 WHEN j.priority >= 50 THEN 1 ELSE 0 END AS band, j.kind = 'backup' AS backs_up,
      j.priority + date_part('epoch', clock_timestamp() - j.run_at) / (SELECT greatest(setting_of('aging_s'), 1)) AS points,
      CASE WHEN j.kind = 'backup' THEN s.need ELSE concat_ws('|', j.kind, j.source, j.repository, md5(j.params::text)) END
        || CASE WHEN s.name IN (SELECT unnest(w.sources) FROM worker w WHERE w.retired_at IS NULL) THEN s.name ELSE '' END AS need
    FROM job j LEFT JOIN source s ON s.no = j.source
    WHERE j.pool = p_pool AND j.state = 'pending' AND j.run_at <= clock_timestamp() AND (j.start_by IS NULL OR j.start_by > clock_timestamp())
      AND (NOT p_urgent_only OR j.priority >= 50)),
  live AS MATERIALIZED (
    SELECT o.source, coalesce(s.owner, '') AS owner FROM job o LEFT JOIN source s ON s.no = o.source WHERE o.pool = p_pool AND o.state = 'queued'
    UNION ALL SELECT o.source, coalesce(s.owner, '') FROM lease l JOIN job o ON o.id = l.job AND o.pool = p_pool LEFT JOIN source s ON s.no = o.source),
  has AS (SELECT owner, count(*) AS n FROM live GROUP BY owner),
  lane AS (
    SELECT x.source, bit_or(x.running) AS running, bit_or(x.queued) AS queued FROM (
      SELECT o.source, 1 AS running, 0 AS queued FROM job o WHERE o.state = 'running' AND o.lanes & 1 <> 0
      UNION ALL SELECT o.source, 2, 0 FROM job o WHERE o.state = 'running' AND o.lanes & 2 <> 0
      UNION ALL SELECT o.source, 0, o.lanes::int FROM job o WHERE o.state = 'queued' AND o.lanes <> 0) x GROUP BY x.source),
  counted AS ( -- of those sources that have limits of their own
    SELECT s.no, array_agg(k.n::int ORDER BY k.n) AS ks, min(k.room) <= 0 AS filled
    FROM source s CROSS JOIN unnest(s.scopes) u(scope) JOIN unnest(p_scopes, p_room) WITH ORDINALITY k(scope, room, n) ON k.scope = u.scope
    WHERE s.no IN (SELECT d.source FROM due d) GROUP BY s.no),
  pooled AS (SELECT array_position(p_scopes, 'pool:' || name) AS k FROM pool WHERE no = p_pool),
  seen AS (
    SELECT d.*, d.lanes & (coalesce(l.running, 0) | CASE WHEN d.band = 2 THEN 0 ELSE coalesce(l.queued, 0) END) <> 0 AS busy,
      CASE WHEN d.backs_up THEN c.ks END AS ks, p.k AS pool_k,
      d.band < 2 AND (coalesce(d.backs_up AND c.filled, false) OR coalesce(p_room[p.k] <= 0, false)) AS filled
    FROM due d CROSS JOIN pooled p LEFT JOIN lane l ON l.source = d.source AND d.lanes <> 0 LEFT JOIN counted c ON c.no = d.source),
  owners AS (SELECT count(*) AS n FROM (SELECT owner FROM seen WHERE band = 0 AND NOT busy AND NOT filled UNION SELECT owner FROM has) o),
  slots AS (
    SELECT sum(i.slots) AS n FROM worker w JOIN worker_instance i ON i.worker = w.no AND i.bye_at IS NULL
      AND i.seen_at > clock_timestamp() - (SELECT make_interval(secs => greatest(setting_of('lease_s'), setting_of('liveness_s'))))
    WHERE w.retired_at IS NULL AND NOT w.drain AND p_pool = ANY (w.pools)),
  turned AS (
    SELECT s.*, CASE WHEN s.band = 0 THEN coalesce(h.n, 0)
        + row_number() OVER (PARTITION BY s.band, s.owner, s.busy OR s.filled ORDER BY s.points DESC, s.run_at, s.id) ELSE 0 END AS turn
    FROM seen s LEFT JOIN has h ON h.owner = s.owner)
  SELECT t.id, t.dispatch, t.source, t.lanes, t.band, t.busy, t.lanes <> 0 AND t.source IN (SELECT d.source FROM due d WHERE d.lanes <> 0 GROUP BY 1 HAVING count(*) > 1),
    CASE WHEN t.band = 2 THEN '{}' ELSE coalesce(t.ks, '{}') || CASE WHEN t.pool_k IS NULL THEN '{}' ELSE ARRAY[t.pool_k] END END,
    t.need, t.owner, t.turn, CASE WHEN o.n > 1 THEN greatest(16, 4 * coalesce(z.n, 0)) END
  FROM (SELECT u.* FROM turned u LEFT JOIN owner_served v ON v.pool = p_pool AND v.owner = u.owner AND u.band = 0
        ORDER BY u.band DESC, u.busy OR u.filled, u.turn, v.at NULLS FIRST, u.points DESC, u.run_at, u.id OFFSET p_from LIMIT p_most) t, owners o, slots z $$;

-- As before. The statement over what is due has the time of its planning for a few jobs, and costs that of
-- running it for many: of few it is planned once a connection, of many for what there is.
CREATE OR REPLACE FUNCTION dispatch_pick(p_pool int, p_most int) RETURNS TABLE (job bigint, dispatch bigint, kind text, urgent boolean)
  LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  here pool;
  scopes text[]; room int[]; out_there int[];     -- limits, by number
  due refcursor;
  few boolean;                                     -- are due: the statement is planned once a connection
  x record;
  one job;
  k int;
  full_one int;
  tickets int;                                     -- that are out
  most int := p_most;                              -- of what is not urgent
  first int := 500 + 2 * greatest(p_most, 0);      -- so many are looked at; the rest if nothing else is left
  seen int;
  enough boolean := false;
  look boolean;                                    -- is it time to take tickets back?
  asked jsonb := '{}';                             -- of each need: 0 somebody can, or the number of its words
  words text[] := '{}';
  why text;
  sent int[] := '{}';                              -- sources with several due whose lane got a ticket just now
  ids bigint[] := '{}'; numbers bigint[] := '{}'; picked int := 0;
  owners text[] := '{}'; places int[] := '{}';     -- who gets a turn while several wait
  held bigint[] := '{}'; held_by int[] := '{}';
BEGIN
  PERFORM need_values(num_nulls(p_pool, p_most), 'dispatch_pick');
  SELECT * INTO here FROM pool WHERE no = p_pool;
  IF here.paused IS NOT FALSE THEN
    RETURN;
  END IF;
  SELECT array_agg(l.scope ORDER BY l.scope COLLATE "C"), array_agg(l.free - coalesce(q.n, 0) ORDER BY l.scope COLLATE "C"),
      array_agg(coalesce(q.n, 0) ORDER BY l.scope COLLATE "C") INTO scopes, room, out_there
    FROM (SELECT s.scope, (count(*) FILTER (WHERE s.job IS NULL))::int AS free FROM limit_slot s GROUP BY s.scope) l
    LEFT JOIN (SELECT u.scope, count(*)::int AS n FROM job o LEFT JOIN source s ON s.no = o.source AND o.kind = 'backup'
                 CROSS JOIN unnest(s.scopes || ('pool:' || here.name)) u(scope)
               WHERE o.pool = p_pool AND o.state = 'queued' AND o.trigger <> 'emergency' AND EXISTS (SELECT FROM limit_slot)
               GROUP BY u.scope) q ON q.scope = l.scope;
  SELECT count(*), coalesce(min(o.queued_at) <= clock_timestamp() - make_interval(secs => setting_of('recall_s')), false)
      AND here.recalled_at <= clock_timestamp() - make_interval(secs => setting_of('recall_s'))
    INTO tickets, look FROM job o WHERE o.pool = p_pool AND o.state = 'queued';
  IF look THEN
    UPDATE pool SET recalled_at = clock_timestamp() WHERE no = p_pool;
  END IF;
  few := NOT EXISTS (SELECT FROM job o WHERE o.pool = p_pool AND o.state = 'pending' AND o.run_at <= clock_timestamp() OFFSET 100);
  FOR part IN 0 .. 1 LOOP
    seen := 0;
    IF few THEN
      OPEN due FOR SELECT * FROM dispatch_due(p_pool, p_most <= 0 AND NOT look, coalesce(scopes, '{}'), coalesce(room, '{}'), part * first,
        CASE part WHEN 0 THEN first END);
    ELSE
      OPEN due FOR EXECUTE 'SELECT * FROM dispatch_due($1, $2, $3, $4, $5, $6)' USING p_pool, p_most <= 0 AND NOT look, coalesce(scopes, '{}'),
        coalesce(room, '{}'), part * first, CASE part WHEN 0 THEN first END;
    END IF;
    LOOP
      FETCH due INTO x;
      EXIT WHEN NOT FOUND;
      seen := seen + 1;
      enough := x.band = 0 AND NOT look AND picked >= least(most, x.depth - tickets);
      EXIT WHEN enough;
      CONTINUE WHEN x.band = 1 AND picked >= p_most + here.window_size / 8;
      IF x.busy THEN
        held := held || x.id; held_by := held_by || 0;
        CONTINUE;
      END IF;
      CONTINUE WHEN x.again AND x.source = ANY (sent); -- the one before it goes first
      full_one := NULL;
      FOREACH k IN ARRAY x.ks LOOP
        IF room[k] <= 0 THEN
          full_one := k;
          EXIT;
        END IF;
      END LOOP;
      IF full_one IS NOT NULL THEN
        held := held || x.id; held_by := held_by || full_one;
        CONTINUE;
      END IF;
      k := (asked ->> x.need)::int;
      IF k IS NULL THEN
        SELECT * INTO one FROM job j WHERE j.id = x.id;
        why := job_nobody(one);
        IF why IS NOT NULL THEN
          words := words || why;
        END IF;
        k := CASE WHEN why IS NULL THEN 0 ELSE cardinality(words) END;
        asked := asked || jsonb_build_object(x.need, k);
      END IF;
      IF k > 0 THEN
        held := held || x.id; held_by := held_by || -k;
        CONTINUE;
      END IF;
      IF look AND x.band = 0 THEN
        look := false;
        k := CASE WHEN x.depth IS NULL THEN 0 ELSE dispatch_recall(p_pool, x.turn) END;
        most := most + k; tickets := tickets - k;
        enough := picked >= least(most, x.depth - tickets);
        EXIT WHEN enough;
      END IF;
      ids := ids || x.id; numbers := numbers || x.dispatch;
      picked := picked + 1;
      IF x.band = 0 AND x.depth IS NOT NULL THEN
        owners := owners || x.owner; places := places || picked;
      END IF;
      FOREACH k IN ARRAY x.ks LOOP
        room[k] := room[k] - 1; out_there[k] := out_there[k] + 1;
      END LOOP;
      IF x.again THEN
        sent := sent || x.source;
      END IF;
    END LOOP;
    CLOSE due;
    EXIT WHEN enough OR seen < first;
  END LOOP;
  IF cardinality(held) > 0 THEN
    PERFORM dispatch_tell(p_pool, held, held_by, scopes, out_there, words);
  END IF;
  INSERT INTO owner_served AS s SELECT p_pool, u.owner, clock_timestamp() + max(u.place) * interval '1 microsecond'
    FROM unnest(owners, places) u(owner, place) GROUP BY u.owner ORDER BY u.owner
    ON CONFLICT (pool, owner) DO UPDATE SET at = excluded.at;
  -- What another scheduler has, or what changed meanwhile, stays.
  RETURN QUERY WITH mine AS (
      SELECT j.id FROM job j JOIN unnest(ids, numbers) u(id, number) ON u.id = j.id
      WHERE j.state = 'pending' AND j.dispatch = u.number AND j.run_at <= clock_timestamp() ORDER BY j.id FOR UPDATE OF j SKIP LOCKED),
    gone AS (UPDATE job j SET state = 'queued', queued_at = clock_timestamp() FROM mine WHERE j.id = mine.id
             RETURNING j.id, j.dispatch, j.kind, j.priority)
    SELECT g.id, g.dispatch, g.kind, g.priority >= 50 FROM (SELECT i.id, min(i.n) AS n FROM unnest(ids) WITH ORDINALITY i(id, n) GROUP BY i.id) u
      JOIN gone g ON g.id = u.id ORDER BY u.n;
END $$;

-- As before, in one function. Whether it was committed already is asked only of who holds the job no more: its
-- commit and the end of its claim are one.
DROP FUNCTION backup_commit_whole;
CREATE OR REPLACE FUNCTION backup_commit(p_job bigint, p_attempt bigint, p_claim uuid, p_id uuid, p_manifest_sha256 bytea, p_index_object uuid,
    p_index_sha256 bytea, p_sequence bigint, p_consistent timestamptz, p_position text, p_receipt jsonb, p_partial boolean,
    p_stored_verified boolean, p_entries bigint, p_bytes bigint, p_stored_bytes bigint, p_new_bytes bigint, p_packs bigint[],
    p_issues jsonb, p_issue_count bigint, p_item_kinds text[], p_item_names text[], p_item_entries bigint[], p_item_rows bigint[],
    p_item_bytes bigint[]) RETURNS TABLE (answer text, detail text)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  me worker := worker_me();
  j job;
  s session;
  domains int[];
  bad text;
  last_one uuid;
  last_sequence bigint;
  back timestamptz;
BEGIN
  PERFORM need_read_committed(); -- an older snapshot would defeat lock-then-test
  PERFORM need_values(num_nulls(p_job, p_attempt, p_claim, p_id, p_manifest_sha256, p_index_object, p_index_sha256, p_sequence,
    p_consistent, p_partial, p_stored_verified, p_packs), 'backup_commit');
  -- Whoever notices that the store was set back waits for this commit, or this one sees what was noticed.
  SELECT r.set_back_at INTO back FROM session x JOIN repository r ON r.no = x.repository
    WHERE x.job = p_job AND x.attempt = p_attempt AND x.state = 'open' FOR SHARE OF r;
  SELECT * INTO j FROM job WHERE id = p_job FOR UPDATE;
  IF j.id IS NULL OR j.state IS DISTINCT FROM 'running' OR j.attempt IS DISTINCT FROM p_attempt OR j.claim IS DISTINCT FROM p_claim
     OR NOT EXISTS (SELECT FROM lease l WHERE l.job = p_job AND l.attempt = p_attempt AND l.worker = me.no) THEN
    IF EXISTS (SELECT FROM backup b JOIN job_attempt a ON a.job = b.job AND a.attempt = b.attempt
               WHERE b.id = p_id AND b.job = p_job AND b.attempt = p_attempt AND a.worker = me.no
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
  s := fence_session(p_job, p_attempt);
  domains := job_domains(j);
  PERFORM pg_advisory_xact_lock_shared(hashtextextended('holdfast.flip', s.repository)); -- many committers, one flip
  -- Only rows that will change are locked, in one order; a live pack that is condemned meanwhile is
  -- pardoned by the flip, which sees this commit.
  PERFORM FROM pack p WHERE p.no = ANY (p_packs) AND p.state <> 'live' ORDER BY p.no FOR NO KEY UPDATE;
  SELECT string_agg(x.no::text, ' ' ORDER BY x.no) FILTER (WHERE x.n <= 8) INTO bad
    FROM (SELECT u.no, row_number() OVER (ORDER BY u.no) AS n FROM unnest(p_packs) AS u(no)
          LEFT JOIN pack p ON p.no = u.no AND p.repository = s.repository
          WHERE p.no IS NULL OR p.damaged_at IS NOT NULL OR p.sha256 IS NULL OR p.state IN ('deleting', 'deleted')
             OR (p.state = 'staged' AND (p.job, p.attempt) IS DISTINCT FROM (p_job, p_attempt))
             OR (p.state IN ('live', 'condemned') AND p.verified_at IS NULL AND NOT p.domain = ANY (domains))
             OR (p.state <> 'staged' AND p.begun_at <= back AND (p.verified_at IS NULL OR p.verified_at <= back))) x;
  IF bad IS NOT NULL THEN
    RETURN QUERY SELECT 'damaged', left(bad, 240);
    RETURN;
  END IF;
  SELECT b.id, b.sequence INTO last_one, last_sequence FROM backup b WHERE b.source = j.source AND b.repository = s.repository
    ORDER BY b.sequence DESC LIMIT 1;
  IF p_sequence IS DISTINCT FROM coalesce(last_sequence, 0) + 1 THEN
    RAISE EXCEPTION 'backup has sequence %, its source is at %', p_sequence, coalesce(last_sequence, 0) USING ERRCODE = 'HF003', DETAIL = 'backup.sequence';
  END IF;
  UPDATE pack SET state = 'live', condemned_epoch = NULL WHERE no = ANY (p_packs) AND state IN ('staged', 'condemned');
  INSERT INTO backup(id, job, attempt, source, schedule, slot, policy, repository, key_set, sequence, parent, outcome, manifest_sha256,
      index_object, index_sha256, consistent_at, position, receipt, started_at, entries, bytes, stored_bytes, new_bytes, issues,
      issue_count, packs)
    SELECT p_id, p_job, p_attempt, j.source, j.schedule, j.slot, src.policy, r.no, r.key_set, p_sequence,
      last_one,
      CASE WHEN p_partial THEN 'partial' ELSE 'completed' END, p_manifest_sha256, p_index_object, p_index_sha256, p_consistent,
      coalesce(p_position, ''), coalesce(p_receipt, '{}'), a.started_at, p_entries, p_bytes, p_stored_bytes, p_new_bytes,
      coalesce(p_issues, '[]'), coalesce(p_issue_count, 0), array(SELECT DISTINCT u FROM unnest(p_packs) u ORDER BY u)
    FROM source src, repository r, job_attempt a
    WHERE src.no = j.source AND r.no = s.repository AND a.job = p_job AND a.attempt = p_attempt;
  INSERT INTO backup_item(backup, n, kind, name, entries, rows, bytes)
    SELECT p_id, x.n, x.kind, x.name, x.entries, x.rows, x.bytes
    FROM unnest(p_item_kinds, p_item_names, p_item_entries, p_item_rows, p_item_bytes)
         WITH ORDINALITY AS x(kind, name, entries, rows, bytes, n);
  IF p_stored_verified THEN
    INSERT INTO verification(backup, job, level, result, started_at, worker) VALUES (p_id, p_job, 'stored', 'ok', clock_timestamp(), me.no);
  END IF;
  PERFORM attempt_end(j, CASE WHEN p_partial THEN 'partial' ELSE 'completed' END, NULL, NULL, NULL);
  UPDATE job SET state = CASE WHEN p_partial THEN 'partial' ELSE 'completed' END, claim = NULL, repository = s.repository,
    finished_at = clock_timestamp() WHERE id = p_job;
  RETURN QUERY SELECT 'ok', '';
END $$;

-- A minute of a large fleet makes its events as a set. A key that nobody gave needs no place in an index.
DROP TRIGGER job_made ON job;
CREATE FUNCTION jobs_tell() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
BEGIN
  INSERT INTO event(kind, source, job, data)
    SELECT CASE WHEN m.finished_at IS NULL THEN 'job.state' ELSE 'job.finished' END, m.source, m.id,
      jsonb_build_object('state', m.state, 'kind', m.kind, 'attempt', m.attempt)
    FROM made m ORDER BY m.id;
  RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION jobs_tell FROM PUBLIC;
CREATE TRIGGER job_made AFTER INSERT ON job REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION jobs_tell();
ALTER TABLE job DROP CONSTRAINT job_actor_idempotency_key_key;
CREATE UNIQUE INDEX job_one_a_key ON job(actor, idempotency_key) WHERE idempotency_key IS NOT NULL;
