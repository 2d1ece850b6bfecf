-- What is told of a job row is told with each change of it, three or four times in its life.

-- One condition of a job's row instead of nine: PostgreSQL reads each of them anew, from its text, for every
-- statement that changes a job, lists of words byte by byte.
CREATE FUNCTION job_sound(p_kind text, p_trigger text, p_schedule text, p_slot timestamptz, p_lanes smallint, p_priority smallint,
    p_state text, p_claim uuid, p_finished timestamptz, p_most int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN p_kind IN ('backup', 'restore', 'verify', 'copy', 'prune', 'retention', 'rebuild', 'health', 'probe')
    AND p_trigger IN ('scheduled', 'manual', 'retry', 'initial', 'emergency')
    AND p_state IN ('pending', 'queued', 'running', 'completed', 'partial', 'failed', 'cancelled', 'skipped', 'missed')
    AND p_lanes BETWEEN 0 AND 3 AND p_priority BETWEEN -100 AND 100 AND p_most > 0
    AND (p_schedule IS NULL) = (p_slot IS NULL) AND (p_state = 'running') = (p_claim IS NOT NULL)
    AND (p_state IN ('completed', 'partial', 'failed', 'cancelled', 'skipped', 'missed')) = (p_finished IS NOT NULL);
END $$;
GRANT EXECUTE ON FUNCTION job_sound TO holdfast_scheduler;
DO $$
DECLARE
  old text;
BEGIN
  FOR old IN SELECT conname FROM pg_constraint WHERE contype = 'c' AND conrelid = 'holdfast.job'::regclass LOOP
    EXECUTE format('ALTER TABLE job DROP CONSTRAINT %I', old);
  END LOOP;
END $$;
ALTER TABLE job ADD CONSTRAINT job_sound
  CHECK (job_sound(kind, trigger, schedule, slot, lanes, priority, state, claim, finished_at, max_failures));

-- As before, by the rights of whoever moves a job, and without setting a path: it names its table whole.
CREATE OR REPLACE FUNCTION job_tells() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO holdfast.event(kind, source, job, data)
  VALUES (CASE WHEN NEW.finished_at IS NULL THEN 'job.state' ELSE 'job.finished' END, NEW.source, NEW.id,
          jsonb_build_object('state', NEW.state, 'kind', NEW.kind, 'attempt', NEW.attempt));
  RETURN NULL;
END $$;
ALTER FUNCTION job_tells RESET search_path;

-- As before; since when a worker is silent is worked out once, not for each worker.
CREATE OR REPLACE FUNCTION job_nobody(j job) RETURNS text LANGUAGE plpgsql STABLE SET search_path = holdfast, pg_temp AS $$
DECLARE
  w record;
  served boolean := false;
  silent timestamptz := clock_timestamp() - make_interval(secs => greatest(setting_of('lease_s'), setting_of('liveness_s')));
BEGIN
  FOR w IN SELECT m.reader, m.drain, i.facts FROM worker m
           JOIN worker_instance i ON i.worker = m.no AND i.bye_at IS NULL AND i.seen_at > silent
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

-- As before; but of few jobs that are due the statement over them was planned anew each time, because it looked
-- cheaper so: half of the time that a single job waited for its ticket.
CREATE OR REPLACE FUNCTION dispatch_pick(p_pool int, p_most int) RETURNS TABLE (job bigint, dispatch bigint, kind text, urgent boolean)
  LANGUAGE plpgsql SET search_path = holdfast, pg_temp SET plan_cache_mode = auto AS $$
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
  IF few THEN
    PERFORM set_config('plan_cache_mode', 'force_generic_plan', true);
  END IF;
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
  IF cardinality(owners) > 0 THEN
    INSERT INTO owner_served AS s SELECT p_pool, u.owner, clock_timestamp() + max(u.place) * interval '1 microsecond'
      FROM unnest(owners, places) u(owner, place) GROUP BY u.owner ORDER BY u.owner
      ON CONFLICT (pool, owner) DO UPDATE SET at = excluded.at;
  END IF;
  -- What another scheduler has, or what changed meanwhile, stays.
  RETURN QUERY WITH mine AS (
      SELECT j.id, u.n FROM unnest(ids, numbers) WITH ORDINALITY u(id, number, n) JOIN job j ON j.id = u.id
      WHERE j.state = 'pending' AND j.dispatch = u.number AND j.run_at <= clock_timestamp() ORDER BY j.id FOR UPDATE OF j SKIP LOCKED),
    gone AS (UPDATE job j SET state = 'queued', queued_at = clock_timestamp() FROM mine WHERE j.id = mine.id
             RETURNING j.id, j.dispatch, j.kind, j.priority, mine.n)
    SELECT g.id, g.dispatch, g.kind, g.priority >= 50 FROM gone g ORDER BY g.n;
END $$;
