-- A slot is told why it did not run, and a run for how many slots it stands, in the scheduler's words. With
-- overlap queue one job of a schedule waits, whatever comes meanwhile: a long run is not followed by a
-- hundred that nobody asked for.
DROP FUNCTION slots_fire(int[], text[], timestamptz[], timestamptz[], timestamptz[], boolean[]);
CREATE FUNCTION slots_fire(p_sources int[], p_schedules text[], p_olds timestamptz[], p_slots timestamptz[], p_start_bys timestamptz[],
    p_missed boolean[], p_codes text[], p_texts text[]) RETURNS TABLE (n bigint, job bigint, state text) LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  x record;
  s source;
  sc schedule;
  won boolean := false;
  running job;
  waiting bigint;
  number bigint;
  made_as text;
  why text;
  code text;
BEGIN
  FOR x IN SELECT *, lag(src) OVER w IS DISTINCT FROM src OR lag(name) OVER w IS DISTINCT FROM name AS is_first,
             max(slot) OVER (PARTITION BY src, name) AS newest
           FROM unnest(p_sources, p_schedules, p_olds, p_slots, p_start_bys, p_missed, p_codes, p_texts) WITH ORDINALITY
             AS u(src, name, old, slot, start_by, missed, code, text, n) WINDOW w AS (ORDER BY u.n) ORDER BY u.n LOOP
    IF x.slot > clock_timestamp() + interval '1 minute' THEN
      RAISE EXCEPTION 'slot % is in the future', x.slot USING ERRCODE = 'HF004', DETAIL = 'slot.future';
    END IF;
    IF x.is_first THEN
      UPDATE schedule SET last_slot = x.newest WHERE source = x.src AND name = x.name AND last_slot IS NOT DISTINCT FROM x.old
        RETURNING * INTO sc;
      won := FOUND;
      SELECT * INTO s FROM source WHERE no = x.src AND retired_at IS NULL;
      won := won AND FOUND;
    END IF;
    number := NULL;
    made_as := '';
    IF won THEN
      made_as := 'pending'; code := NULL; why := NULL;
      SELECT * INTO running FROM job j WHERE j.source = x.src AND j.kind = sc.kind AND j.state IN ('pending', 'queued', 'running')
        ORDER BY j.id LIMIT 1;
      SELECT j.id INTO waiting FROM job j WHERE j.source = x.src AND j.schedule = x.name AND j.kind = sc.kind
        AND j.state IN ('pending', 'queued') ORDER BY j.id LIMIT 1;
      IF x.code = 'slot.excluded' THEN
        made_as := 'skipped'; code := x.code; why := x.text;
      ELSIF x.missed THEN
        made_as := 'missed'; code := coalesce(nullif(x.code, ''), 'slot.missed');
        why := coalesce(nullif(x.text, ''), 'no scheduler was there in time');
      ELSIF s.paused_until > clock_timestamp() THEN
        made_as := 'skipped'; code := 'source.paused'; why := coalesce('paused: ' || nullif(s.paused_reason, ''), 'its source is paused');
      ELSIF sc.overlap_skip AND running.id IS NOT NULL THEN
        made_as := 'skipped'; code := 'overlap'; why := format('job %s is still %s', running.id, running.state);
      ELSIF waiting IS NOT NULL THEN
        made_as := 'skipped'; code := 'slot.waiting'; why := format('job %s of this schedule still waits, and stands for it', waiting);
      END IF;
      number := job_new(sc.kind, 'scheduled', s, x.name, x.slot, sc.params, NULL, 'scheduler', NULL, 0, made_as, x.start_by, NULL, NULL);
      IF number IS NOT NULL AND code IS NOT NULL THEN
        INSERT INTO decision(source, schedule, slot, job, verdict, code, text) VALUES (x.src, x.name, x.slot, number, made_as, code, why);
      ELSIF number IS NOT NULL AND x.code <> '' THEN
        INSERT INTO decision(source, schedule, slot, job, verdict, code, text) VALUES (x.src, x.name, x.slot, number, 'ran', x.code, x.text);
      END IF;
    END IF;
    RETURN QUERY SELECT x.n, coalesce(number, 0), CASE WHEN number IS NULL THEN '' ELSE made_as END;
  END LOOP;
END $$;

REVOKE ALL ON FUNCTION slots_fire FROM PUBLIC;
GRANT EXECUTE ON FUNCTION slots_fire TO holdfast_scheduler;
