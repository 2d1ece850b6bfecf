-- One row: what can be restored to any instant, source by source, the newest base backup first, and logs that are in
-- trouble; $4 source, $12 limit.
SELECT jsonb_build_object('items', coalesce(jsonb_agg(item ORDER BY source, at DESC NULLS FIRST, timeline DESC), '[]'), 'next_cursor', NULL)::text
FROM (
  SELECT x.source, x.from_at AS at, x.timeline, jsonb_build_object('source', x.source, 'log', x.log, 'backup', holdfast.backup_text(x.backup),
      'timeline', x.timeline, 'from_at', holdfast.rfc3339(x.from_at), 'from_lsn', x.from_lsn::text, 'to_at', holdfast.rfc3339(x.to_at),
      'to_lsn', x.to_lsn::text, 'hole_from', x.hole_from::text, 'hole_to', x.hole_to::text, 'lag_bytes', NULL,
      'unstored_bytes', x.spool_bytes, 'unstored_since', holdfast.rfc3339(x.spool_oldest),
      'state', CASE WHEN x.hole_to IS NOT NULL THEN 'hole' WHEN x.timeline < max(x.timeline) OVER (PARTITION BY x.backup) THEN 'left' ELSE 'open' END,
      'next', CASE WHEN x.hole_to IS NOT NULL THEN 'no restore crosses the hole: a later base backup begins the next window'
                   WHEN x.timeline < max(x.timeline) OVER (PARTITION BY x.backup) THEN 'a server was promoted: the log goes on in the timeline after it'
                   ELSE 'holdfast restore ' || x.source || ' --to DIR' END) AS item
  FROM (SELECT w.*, o.* FROM holdfast.recovery_windows w LEFT JOIN LATERAL holdfast.log_waits(w.log_no, w.system) o ON true WHERE $4 IS NULL OR w.source = $4 ORDER BY w.from_at DESC LIMIT $12) x
  UNION ALL
  SELECT f.source, NULL, f.timeline, jsonb_build_object('source', f.source, 'log', f.log, 'backup', holdfast.backup_text(f.newest_base),
      'timeline', f.timeline, 'from_at', NULL, 'from_lsn', NULL, 'to_at', holdfast.rfc3339(f.stored_at), 'to_lsn', f.end_lsn::text,
      'hole_from', coalesce(f.to_lsn, f.gap_from)::text, 'hole_to', f.gap_to::text, 'lag_bytes', f.lag,
      'unstored_bytes', f.spool_bytes, 'unstored_since', holdfast.rfc3339(f.spool_oldest), 'state', 'trouble',
      'next', f.trouble || ': holdfast run ' || CASE WHEN f.stored_at IS NULL THEN f.log ELSE f.source END)
  FROM holdfast.log_facts f WHERE f.trouble IS NOT NULL AND ($4 IS NULL OR f.source = $4)) y
