-- A minute of a large fleet is tens of thousands of slots: they are decided as a set, not one after another.
-- What each is decided to be is what it was before (0024), row by row:
--   excluded, missed, paused   as it says
--   overlap                    its schedule skips while a job of its source and kind lives
--   slot.waiting               a job of its schedule waits already, and stands for it
-- A slot of the same call counts as such a job when it was made before this one. So at most one slot of a
-- schedule is made to run, the first that nothing else keeps; where its schedule skips, only when no job
-- lives and no other schedule of its source and kind comes before. A slot that has its job already, because
-- last_slot was set back, makes none and stands for none.
-- Nothing here is joined with itself: with a thousand rows and no statistics a planner would take loops.
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
          AND j.state IN ('pending', 'queued', 'running') ORDER BY j.id LIMIT 1) live ON true
        LEFT JOIN LATERAL (SELECT j.id FROM job j WHERE j.source = w.src AND j.schedule = w.name AND j.kind = w.kind
          AND j.state IN ('pending', 'queued') ORDER BY j.id LIMIT 1) waits ON true
      ORDER BY u.n) x),
  -- The first of its schedule, and of its source and kind, that could run.
  placed AS (
    SELECT x.*, min(x.id) FILTER (WHERE x.kept IS NULL AND NOT x.known) OVER (PARTITION BY x.src, x.name) AS first_here,
      min(x.id) FILTER (WHERE x.kept IS NULL AND NOT x.known) OVER (PARTITION BY x.src, x.kind) AS first_of_source
    FROM seen x),
  judged AS (
    SELECT x.*, x.kept IS NULL AND x.id = x.first_here AND x.waits IS NULL AND
      (NOT x.overlap_skip OR x.live IS NULL AND x.id = x.first_of_source) AS goes FROM placed x),
  behind AS MATERIALIZED (
    SELECT x.*, CASE WHEN x.goes THEN 'pending' WHEN x.missed AND x.kept <> 'slot.excluded' THEN 'missed' ELSE 'skipped' END AS made_as,
      -- Which job of this call it stands behind, by its source and by its schedule.
      min(x.id) FILTER (WHERE x.goes) OVER (PARTITION BY x.src, x.kind) AS runs_of_source,
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

-- It numbers its jobs itself, in the order asked.
GRANT USAGE ON SEQUENCE job_id_seq TO holdfast_scheduler;
