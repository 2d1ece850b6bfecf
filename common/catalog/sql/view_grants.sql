-- One row: the grants, newest first.
SELECT jsonb_build_object('items', coalesce(jsonb_agg(x.item ORDER BY x.asked_at DESC), '[]'), 'next_cursor', NULL)::text FROM (
  SELECT g.asked_at, jsonb_build_object('id', g.id, 'backup', holdfast.backup_text(g.backup), 'source', s.name, 'worker', w.name,
      'state', CASE WHEN g.withdrawn_at IS NOT NULL THEN 'withdrawn' WHEN g.used_by IS NOT NULL THEN 'used' WHEN g.until <= clock_timestamp() THEN 'expired'
        WHEN g.made_at IS NULL THEN 'asked' ELSE 'ready' END,
      'asked_at', holdfast.rfc3339(g.asked_at), 'until', holdfast.rfc3339(g.until), 'actor', g.actor, 'reason', g.reason,
      'used_by', holdfast.job_text(g.used_by), 'used_at', holdfast.rfc3339(g.used_at)) AS item
    FROM holdfast.restore_grant g JOIN holdfast.backup b ON b.id = g.backup JOIN holdfast.source s ON s.no = b.source JOIN holdfast.worker w ON w.no = g.worker
    ORDER BY g.asked_at DESC LIMIT 500) x
