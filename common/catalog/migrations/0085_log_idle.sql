-- A batch's order knows which transaction the server would have given next when the batch before was made: where it still
-- is that one, nothing was committed since, and no batch is made of nothing but its own mark.
CREATE OR REPLACE FUNCTION log_from(p_source int) RETURNS jsonb LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT jsonb_build_object('system', l.system, 'timeline', l.timeline, 'end', l.end_lsn::text,
      'at_us', (extract(epoch FROM l.at) * 1000000)::bigint, 'sha256', (SELECT encode(g.sha256, 'hex') FROM log_segment g
        WHERE g.source = l.source AND g.system = l.system AND g.timeline = l.timeline AND g.end_lsn = l.end_lsn LIMIT 1))
      || jsonb_strip_nulls(jsonb_build_object('next_xid', b.receipt #> '{log,next_xid}'))
    FROM log_batch l JOIN backup b ON b.id = l.backup WHERE l.source = p_source ORDER BY b.sequence DESC, b.committed_at DESC LIMIT 1 $$;
