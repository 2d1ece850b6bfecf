-- One row: damaged packs, the newest finding first, with the backups that name them; $4 store, $12 limit. However many packs
-- there are, the backups and the failed checks are looked through once.
WITH bad AS MATERIALIZED (
  SELECT p.no, p.repository, p.object, p.kind, p.bytes, p.damaged_at, p.damage, r.store, r.key_set
  FROM holdfast.pack p JOIN holdfast.repository r ON r.no = p.repository
  WHERE p.damaged_at IS NOT NULL AND p.state <> 'deleted' AND ($4 IS NULL OR r.store = $4)
  ORDER BY p.damaged_at DESC LIMIT $12),
needs AS (
  SELECT bad.no, b.backup, b.source, x.consistent_at, row_number() OVER (PARTITION BY bad.no ORDER BY x.consistent_at DESC) AS place
  FROM holdfast.backup_place b JOIN holdfast.backup x ON x.id = b.backup CROSS JOIN LATERAL unnest(b.packs) u(no)
    JOIN bad ON bad.no = u.no AND bad.repository = b.repository
  WHERE b.deleted_at IS NULL),
backups AS (
  SELECT n.no, count(*) AS n, jsonb_agg(jsonb_build_object('id', holdfast.backup_text(n.backup), 'source', s.name,
      'consistent_at', holdfast.rfc3339(n.consistent_at)) ORDER BY n.consistent_at DESC) FILTER (WHERE n.place <= 100) AS list
  FROM needs n JOIN holdfast.source s ON s.no = n.source GROUP BY n.no),
entries AS (
  SELECT f.one ->> 'object' AS object, jsonb_agg(DISTINCT f.one ->> 'path') AS list
  FROM holdfast.verification v
    CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(v.checks -> 'damage') WHEN 'array' THEN v.checks -> 'damage' ELSE '[]' END) f(one)
  WHERE v.result = 'failed' AND f.one ->> 'path' <> '' AND f.one ->> 'object' IN (SELECT bad.object::text FROM bad) GROUP BY 1)
SELECT jsonb_build_object('items', coalesce(jsonb_agg(jsonb_build_object('pack', p.object, 'store', p.store, 'key_set', nullif(p.key_set, ''),
    'kind', p.kind, 'bytes', p.bytes, 'found_at', holdfast.rfc3339(p.damaged_at), 'why', p.damage, 'chunks', l.chunks, 'lost_chunks', l.lost,
    'backups', coalesce(b.list, '[]'), 'backup_count', coalesce(b.n, 0), 'entries', coalesce(e.list, '[]'),
    'next', CASE WHEN coalesce(b.n, 0) = 0 THEN 'no backup needs it: the next run of the collector lays it aside in quarantine'
                 WHEN l.lost = 0 THEN 'every chunk of it is stored elsewhere by now: holdfast verify BACKUP --level content shows it'
                 ELSE 'holdfast run SOURCE stores again what is still there; then holdfast verify BACKUP --level content' END)
  ORDER BY p.damaged_at DESC), '[]'), 'next_cursor', NULL)::text
FROM bad p CROSS JOIN LATERAL holdfast.pack_lost_chunks(p.repository, p.no) l
  LEFT JOIN backups b ON b.no = p.no LEFT JOIN entries e ON e.object = p.object::text
