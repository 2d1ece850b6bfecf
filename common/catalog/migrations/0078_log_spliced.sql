-- A batch goes on where the one before ended only if the server still has there what was stored: the sha256 of the last segment,
-- as far as it was stored, goes into the order, and the server's bytes are held against it. Two promotions to one timeline are told
-- apart by where they left it.
CREATE OR REPLACE FUNCTION log_from(p_source int) RETURNS jsonb LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT jsonb_build_object('system', l.system, 'timeline', l.timeline, 'end', l.end_lsn::text,
      'at_us', (extract(epoch FROM l.at) * 1000000)::bigint, 'sha256', (SELECT encode(g.sha256, 'hex') FROM log_segment g
        WHERE g.source = l.source AND g.system = l.system AND g.timeline = l.timeline AND g.end_lsn = l.end_lsn LIMIT 1))
    FROM log_batch l JOIN backup b ON b.id = l.backup WHERE l.source = p_source ORDER BY b.sequence DESC, b.committed_at DESC LIMIT 1 $$;

CREATE OR REPLACE FUNCTION log_take() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  log jsonb := NEW.receipt -> 'log';
  other log_timeline;
BEGIN
  SELECT h.* INTO other FROM jsonb_array_elements(coalesce(log -> 'histories', '[]')) AS x(item)
    JOIN log_timeline h ON h.source = NEW.source AND h.system = log ->> 'system' AND h.timeline = (x.item ->> 'timeline')::bigint
    WHERE (h.parent, h.switch_lsn) IS DISTINCT FROM ((x.item ->> 'parent')::bigint, (x.item ->> 'switch')::pg_lsn)
      AND EXISTS (SELECT FROM lease l WHERE l.job = NEW.job) LIMIT 1;
  IF other.source IS NOT NULL THEN
    RAISE EXCEPTION 'timeline % left % at % in what is stored, and the server says otherwise: two servers were promoted to it', other.timeline,
      other.parent, other.switch_lsn USING ERRCODE = 'HF003', DETAIL = 'log.other_history';
  END IF;
  INSERT INTO log_batch(backup, source, system, timeline, start_lsn, end_lsn, at, lag, slot, gap_from, gap_to)
    VALUES (NEW.id, NEW.source, log ->> 'system', (log ->> 'timeline')::bigint, (log ->> 'start')::pg_lsn, (log ->> 'end')::pg_lsn,
      NEW.consistent_at, coalesce((log ->> 'lag')::bigint, 0), coalesce(log ->> 'slot', ''), (log #>> '{gap,from}')::pg_lsn,
      (log #>> '{gap,to}')::pg_lsn);
  PERFORM log_take_segments(NEW, log);
  INSERT INTO log_timeline(source, system, timeline, parent, switch_lsn)
    SELECT NEW.source, log ->> 'system', (x.item ->> 'timeline')::bigint, (x.item ->> 'parent')::bigint, (x.item ->> 'switch')::pg_lsn
    FROM jsonb_array_elements(coalesce(log -> 'histories', '[]')) AS x(item) ON CONFLICT DO NOTHING;
  IF log ? 'gap' AND EXISTS (SELECT FROM lease l WHERE l.job = NEW.job) THEN
    PERFORM log_gap_tell(NEW, (log #>> '{gap,from}')::pg_lsn, (log #>> '{gap,to}')::pg_lsn);
  END IF;
  RETURN NULL;
END $$;
