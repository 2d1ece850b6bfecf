-- Who may start, and in which order; and of a job that cannot, what is missing where.
-- Emergencies go first, then what is urgent (priority 50 and more), then one of each owner in turn, those
-- first who have least running and about to run; of one owner by priority, which waiting raises. While several
-- owners wait, few tickets are out (four a slot), and those that one owner got while it was alone are taken
-- back when another's turn comes before theirs. Nothing is pushed that a limit would send back.
ALTER TABLE pool
  ADD COLUMN told_to bigint NOT NULL DEFAULT 0,                      -- newest told of the jobs that cannot go
  ADD COLUMN recalled_at timestamptz NOT NULL DEFAULT '-infinity';   -- last look for tickets to be taken back
CREATE TABLE owner_served ( -- whoever was served last goes last of those that have the same
  pool  int REFERENCES pool,
  owner text,
  at    timestamptz NOT NULL,
  PRIMARY KEY (pool, owner));
INSERT INTO setting VALUES ('recall_s', 2, 'a ticket this old is taken back when it is before the turn of another owner');

-- As before; also which versions of orders and tools it has.
CREATE OR REPLACE FUNCTION job_missing(j job, facts jsonb, reader boolean) RETURNS text LANGUAGE plpgsql STABLE
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
    reads := j.kind = 'restore' OR (j.kind = 'verify' AND j.params ->> 'level' IS DISTINCT FROM 'stored')
             OR probe IN ('backup_files', 'restore_plan');
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

-- Of each enrolled worker: why it does not do this job; NULL: it may. Those that serve its pool first.
CREATE FUNCTION job_lacks(j job) RETURNS TABLE (worker text, serves boolean, lacks text) LANGUAGE sql STABLE
  SET search_path = holdfast, pg_temp AS $$
  SELECT m.name, v.serves, CASE
      WHEN i.id IS NULL THEN 'never said hello'
      WHEN NOT i.alive THEN format('is silent since %s', clock_words(i.seen_at))
      WHEN NOT v.serves THEN CASE WHEN p.name LIKE 'host:%' THEN format('is not on host %s', substr(p.name, 6)) ELSE format('does not serve pool %s', p.name) END
      WHEN m.drain THEN 'drains'
      ELSE job_missing(j, i.facts, m.reader) END
  FROM worker m JOIN pool p ON p.no = j.pool
  CROSS JOIN LATERAL (SELECT worker_serves(m, j.pool, j.source) AS serves) v
  LEFT JOIN LATERAL (SELECT x.id, x.facts, x.seen_at, x.bye_at IS NULL
      AND x.seen_at > clock_timestamp() - make_interval(secs => greatest(setting_of('lease_s'), setting_of('liveness_s'))) AS alive
    FROM worker_instance x WHERE x.worker = m.no ORDER BY x.bye_at IS NULL DESC, x.seen_at DESC LIMIT 1) i ON true
  WHERE m.retired_at IS NULL ORDER BY v.serves DESC, coalesce(i.alive, false) DESC, m.name $$;

CREATE OR REPLACE FUNCTION job_nobody(j job) RETURNS text LANGUAGE plpgsql STABLE SET search_path = holdfast, pg_temp AS $$
DECLARE
  w record;
  served boolean := false;
BEGIN
  FOR w IN SELECT m.reader, m.drain, i.facts FROM worker m
           JOIN worker_instance i ON i.worker = m.no AND i.bye_at IS NULL
             AND i.seen_at > clock_timestamp() - make_interval(secs => greatest(setting_of('lease_s'), setting_of('liveness_s')))
           WHERE m.retired_at IS NULL AND worker_serves(m, j.pool, j.source) LOOP
    served := true;
    IF NOT w.drain AND job_missing(j, w.facts, w.reader) IS NULL THEN
      RETURN NULL;
    END IF;
  END LOOP;
  RETURN (SELECT left(CASE WHEN served THEN 'no capable worker: ' ELSE format('no live worker serves pool %s', (SELECT name FROM pool WHERE no = j.pool))
      || CASE WHEN count(*) > 0 THEN ': ' ELSE '' END END
    || coalesce(string_agg(l.worker || ' ' || l.lacks, '; ' ORDER BY l.n) FILTER (WHERE l.n <= 12), '')
    || CASE WHEN count(*) > 12 THEN format('; and %s more', count(*) - 12) ELSE '' END, 1000)
    FROM job_lacks(j) WITH ORDINALITY AS l(worker, serves, lacks, n) WHERE l.lacks IS NOT NULL);
END $$;

-- The same of a source's next backup, for whoever asks before it is due.
CREATE FUNCTION source_nobody(s source) RETURNS text LANGUAGE plpgsql STABLE SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job;
BEGIN
  j.kind := 'backup'; j.trigger := 'manual'; j.source := s.no; j.pool := s.pool; j.params := '{}';
  RETURN job_nobody(j);
END $$;

-- Writes down why these jobs do not go, 200 in one pass, each in its turn. p_why: 0 its source is busy; n the
-- limit p_scopes[n]; -n the words p_words[n].
CREATE FUNCTION dispatch_tell(p_pool int, p_jobs bigint[], p_why int[], p_scopes text[], p_out int[], p_words text[]) RETURNS void
  LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  last_told bigint;
  most int := 200;
  chosen bigint[] := p_jobs;
BEGIN
  IF cardinality(p_jobs) > most THEN
    SELECT told_to INTO last_told FROM pool WHERE no = p_pool;
    SELECT array_agg(x.id) INTO chosen FROM (SELECT u.id FROM unnest(p_jobs) u(id) ORDER BY u.id <= last_told, u.id LIMIT most) x;
    UPDATE pool SET told_to = chosen[most] WHERE no = p_pool;
  END IF;
  INSERT INTO decision(source, schedule, slot, job, verdict, code, text, measured)
  WITH told AS MATERIALIZED (SELECT u.id, u.why FROM unnest(p_jobs, p_why) u(id, why) WHERE u.id = ANY (chosen)),
  limits AS MATERIALIZED (SELECT k.why, limit_measure(p_scopes[k.why], p_out[k.why]) AS found_so FROM (SELECT DISTINCT why FROM told WHERE why > 0) k),
  said AS (
    SELECT j.*, CASE WHEN t.why < 0 THEN 'held' ELSE 'deferred' END AS verdict,
      CASE WHEN t.why < 0 THEN 'no_worker' WHEN t.why = 0 THEN 'lane.busy' ELSE 'limit.full' END AS said_as,
      CASE WHEN t.why < 0 THEN p_words[-t.why] WHEN t.why > 0 THEN l.found_so ->> 'text' ELSE coalesce(b.text, 'another job has the source') END AS words,
      CASE WHEN t.why > 0 THEN l.found_so - 'text' WHEN t.why = 0 THEN b.found_so END AS found_so
    FROM told t JOIN job j ON j.id = t.id LEFT JOIN limits l ON l.why = t.why
    LEFT JOIN LATERAL (SELECT format('%s (%s) has the source, %s', job_text(o.id), o.kind,
          CASE WHEN o.state = 'running' THEN 'it runs since ' || clock_words(a.started_at) ELSE 'it is about to run' END) AS text,
        jsonb_build_object('job', job_text(o.id), 'state', o.state, 'since', rfc3339(coalesce(a.started_at, o.queued_at))) AS found_so
      FROM job o LEFT JOIN job_attempt a ON a.job = o.id AND a.attempt = o.attempt AND o.state = 'running'
      WHERE t.why = 0 AND o.source = j.source AND o.state IN ('running', 'queued') AND o.lanes & j.lanes <> 0
      ORDER BY o.state = 'running' DESC, o.id LIMIT 1) b ON true)
  SELECT s.source, s.schedule, s.slot, s.id, s.verdict, s.said_as, s.words, s.found_so FROM said s
    WHERE NOT EXISTS (SELECT FROM decision d WHERE d.job = s.id AND d.code = s.said_as AND d.text = s.words
                      AND d.last_at > clock_timestamp() - interval '10 seconds') ORDER BY s.id
  ON CONFLICT (job, code) WHERE job IS NOT NULL
  DO UPDATE SET count = decision.count + 1, last_at = clock_timestamp(), text = excluded.text, verdict = excluded.verdict, measured = excluded.measured;
END $$;

-- What is due in the pool, in the order in which it goes; nothing is changed. ks: its limits, numbers into
-- p_scopes; p_room: how many more each lets in. turn: how many its owner has then. depth: how many tickets may
-- be out while several owners wait, else NULL.
CREATE FUNCTION dispatch_due(p_pool int, p_urgent_only boolean, p_scopes text[], p_room int[], p_from bigint, p_most bigint)
  RETURNS TABLE (id bigint, dispatch bigint, source int, lanes smallint, band int, busy boolean, again boolean, ks int[], need text, owner text, turn bigint, depth bigint)
  LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
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
  counted AS ( -- of the sources that have limits of their own
    SELECT s.no, array_agg(k.n::int ORDER BY k.n) AS ks, min(k.room) <= 0 AS filled
    FROM source s CROSS JOIN unnest(s.scopes) u(scope) JOIN unnest(p_scopes, p_room) WITH ORDINALITY k(scope, room, n) ON k.scope = u.scope
    GROUP BY s.no),
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

-- Takes back tickets of owners that have more than one turn more than this. They are due again at once.
CREATE FUNCTION dispatch_recall(p_pool int, p_turn bigint) RETURNS int LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  n int;
BEGIN
  WITH runs AS (
    SELECT coalesce(s.owner, '') AS owner, count(*) AS n FROM lease l JOIN job o ON o.id = l.job AND o.pool = p_pool LEFT JOIN source s ON s.no = o.source
      GROUP BY 1),
  held AS (
    SELECT o.id, o.queued_at, coalesce(r.n, 0) + row_number() OVER (PARTITION BY coalesce(s.owner, '') ORDER BY o.queued_at, o.id) AS turn
    FROM job o LEFT JOIN source s ON s.no = o.source LEFT JOIN runs r ON r.owner = coalesce(s.owner, '')
    WHERE o.pool = p_pool AND o.state = 'queued' AND o.priority < 50)
  UPDATE job SET state = 'pending', queued_at = NULL, dispatch = dispatch + 1 WHERE id IN (
    SELECT j.id FROM job j JOIN held h ON h.id = j.id WHERE h.turn > p_turn + 1 AND j.state = 'queued' AND j.queued_at = h.queued_at
      AND j.queued_at <= clock_timestamp() - make_interval(secs => setting_of('recall_s')) ORDER BY j.id FOR UPDATE OF j SKIP LOCKED);
  GET DIAGNOSTICS n = ROW_COUNT;
  RETURN n;
END $$;

-- p_most: how many tickets of the window are left; what is urgent may go an eighth of it beyond, and an
-- emergency always.
CREATE OR REPLACE FUNCTION dispatch_pick(p_pool int, p_most int) RETURNS TABLE (job bigint, dispatch bigint, kind text, urgent boolean)
  LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  here pool;
  scopes text[]; room int[]; out_there int[];     -- limits, by number
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
  FOR part IN 0 .. 1 LOOP
    seen := 0;
    FOR x IN SELECT * FROM dispatch_due(p_pool, p_most <= 0 AND NOT look, coalesce(scopes, '{}'), coalesce(room, '{}'), part * first,
               CASE part WHEN 0 THEN first END) LOOP
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

GRANT SELECT, INSERT, UPDATE, DELETE ON owner_served TO holdfast_scheduler;
GRANT EXECUTE ON FUNCTION job_lacks, source_nobody, dispatch_tell, dispatch_due, dispatch_recall TO holdfast_scheduler;
