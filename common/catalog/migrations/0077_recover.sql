-- What a restore to an instant needs of the log: the batches that have the segments from a base backup's stop to that
-- instant, on the line of timelines that leads there, or in words why there is no such line.

-- As before; but a base backup brings its own log, so a window needs the rest from its stop on.
CREATE OR REPLACE VIEW recovery_windows AS
  WITH RECURSIVE base AS (
    SELECT l.no AS log, s.no AS source, b.id AS backup, b.consistent_at AS from_at, n.*
    FROM source l JOIN source s ON s.name = l.spec ->> 'log_of' JOIN backup b ON b.source = s.no AND b.deleted_at IS NULL
      CROSS JOIN LATERAL log_needs(b) n WHERE b.outcome = 'completed'),
  reach AS (
    SELECT x.log, x.source, x.backup, x.from_at, x.system, x.stop_lsn, x.timeline AS began_on, r.timeline, r.to_lsn, r.to_at, r.next_lsn
    FROM base x JOIN log_range r ON r.source = x.log AND r.system = x.system AND r.timeline = x.timeline
      AND r.from_lsn <= x.stop_lsn AND r.to_lsn >= x.stop_lsn
    UNION ALL
    SELECT x.log, x.source, x.backup, x.from_at, x.system, x.stop_lsn, x.began_on, r.timeline, r.to_lsn, r.to_at, r.next_lsn
    FROM reach x JOIN log_timeline h ON h.source = x.log AND h.system = x.system AND h.parent = x.timeline
        AND h.switch_lsn >= x.stop_lsn AND h.switch_lsn <= x.to_lsn
      JOIN log_range r ON r.source = x.log AND r.system = x.system AND r.timeline = h.timeline AND r.from_lsn <= h.switch_lsn AND r.to_lsn >= h.switch_lsn)
  SELECT s.name AS source, l.name AS log, r.backup, r.system, r.timeline, r.began_on, r.from_at, r.stop_lsn AS from_lsn,
    greatest(r.to_at, r.from_at) AS to_at, r.to_lsn, CASE WHEN r.next_lsn IS NOT NULL THEN r.to_lsn END AS hole_from, r.next_lsn AS hole_to,
    r.source AS source_no, r.log AS log_no
  FROM reach r JOIN source s ON s.no = r.source JOIN source l ON l.no = r.log;

CREATE FUNCTION log_refused(p_cause text, p_text text) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT jsonb_build_object('cause', p_cause, 'refused', p_text) $$;

-- The batches of one window, oldest first, each with the segments that it is asked for.
CREATE FUNCTION log_batches(w recovery_windows, p_cut pg_lsn, p_repository int) RETURNS TABLE (backup uuid, manifest_sha256 bytea, here boolean, names jsonb)
  LANGUAGE plpgsql STABLE SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY WITH RECURSIVE line AS (
      SELECT w.timeline AS timeline, p_cut AS until
      UNION ALL
      SELECT h.parent, h.switch_lsn FROM line l JOIN log_timeline h ON h.source = w.log_no AND h.system = w.system AND h.timeline = l.timeline
        WHERE l.timeline > w.began_on)
    SELECT b.id, b.manifest_sha256,
      EXISTS (SELECT FROM backup_place p WHERE p.backup = b.id AND p.repository = p_repository AND p.deleted_at IS NULL), jsonb_agg(g.name ORDER BY g.name)
    FROM line l JOIN log_segment g ON g.source = w.log_no AND g.system = w.system AND g.timeline = l.timeline AND g.start_lsn < l.until AND g.end_lsn > w.from_lsn
      JOIN backup b ON b.id = g.backup GROUP BY b.id ORDER BY b.sequence;
END $$;

-- What the order of a restore says of the log; NULL: it asks for none.
CREATE FUNCTION log_plan(j job) RETURNS jsonb LANGUAGE plpgsql STABLE SET search_path = holdfast, pg_temp AS $$
DECLARE
  target jsonb := j.params -> 'recover';
  wanted timestamptz := (target ->> 'time')::timestamptz;
  place pg_lsn := (target ->> 'lsn')::pg_lsn;
  b backup;
  w recovery_windows;
  cut pg_lsn;
  batches jsonb;
  elsewhere text;
BEGIN
  SELECT * INTO b FROM backup WHERE id = j.backup;
  IF NOT EXISTS (SELECT FROM log_needs(b)) THEN
    RETURN log_refused('log.not_physical', format('%s is no physical backup: only these go on to an instant', backup_text(b.id)));
  END IF;
  SELECT * INTO w FROM recovery_windows x WHERE x.backup = b.id AND (target ->> 'timeline' IS NULL OR x.timeline = (target ->> 'timeline')::bigint)
    ORDER BY x.timeline DESC LIMIT 1;
  IF w.backup IS NULL THEN
    RETURN log_refused('log.no_window', format('no log is stored that goes on from %s: holdfast windows', backup_text(b.id)));
  ELSIF wanted > w.to_at OR place > w.to_lsn THEN
    RETURN log_refused('log.beyond', format('the log from %s reaches until %s (%s)%s, not to %s', backup_text(b.id), rfc3339(w.to_at), w.to_lsn,
      CASE WHEN w.hole_to IS NOT NULL THEN format(', where a hole begins that ends at %s', w.hole_to) ELSE '' END, coalesce(target ->> 'time', target ->> 'lsn')));
  ELSIF wanted < b.consistent_at OR place < w.from_lsn THEN
    RETURN log_refused('log.before', format('%s is of %s (%s), after %s: restore an earlier one', backup_text(b.id), rfc3339(b.consistent_at), w.from_lsn,
      coalesce(target ->> 'time', target ->> 'lsn')));
  END IF;
  -- Each batch ends with a commit of its own behind its instant: up to the first that is not before it is enough.
  SELECT min(x.end_lsn) INTO cut FROM log_batch x WHERE x.source = w.log_no AND x.system = w.system AND x.timeline = w.timeline
    AND x.end_lsn <= w.to_lsn AND (x.at >= wanted OR x.end_lsn >= place);
  cut := CASE WHEN wanted IS NULL AND place IS NULL THEN w.to_lsn ELSE coalesce(cut, w.to_lsn) END;
  SELECT jsonb_agg(jsonb_build_object('backup', x.backup, 'manifest_sha256', encode(x.manifest_sha256, 'hex'), 'names', x.names)),
      min(backup_text(x.backup)) FILTER (WHERE NOT x.here) INTO batches, elsewhere FROM log_batches(w, cut, j.repository) x;
  IF elsewhere IS NOT NULL THEN
    RETURN log_refused('log.elsewhere', format('%s, a part of the log, is not in the store that is read: restore --from the one it is in', elsewhere));
  END IF;
  RETURN target || jsonb_build_object('timeline', w.timeline, 'log', w.log, 'to_lsn', cut::text, 'to_at', rfc3339(w.to_at), 'batches', coalesce(batches, '[]'));
END $$;

CREATE OR REPLACE FUNCTION job_order(j job) RETURNS jsonb LANGUAGE plpgsql STABLE SET search_path = holdfast, pg_temp AS $$
DECLARE
  whole jsonb := job_order_any(j);
  log jsonb;
BEGIN
  IF j.kind IN ('restore', 'probe') AND j.backup IS NOT NULL AND jsonb_typeof(j.params -> 'recover') = 'object' THEN
    RETURN whole || jsonb_build_object('log', log_plan(j));
  ELSIF j.kind = 'backup' AND whole #>> '{source,config,method}' = 'wal' THEN
    log := log_from(j.source);
    IF log IS NOT NULL THEN
      RETURN jsonb_set(whole, '{params,log}', log);
    END IF;
  END IF;
  RETURN whole;
END $$;

REVOKE ALL ON FUNCTION log_refused, log_batches, log_plan FROM PUBLIC;
GRANT EXECUTE ON FUNCTION log_refused, log_batches, log_plan TO holdfast_scheduler;
