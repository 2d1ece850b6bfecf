-- One row: damaged packs, the newest finding first, with the backups that name them; $4 store, $12 limit.
SELECT jsonb_build_object('items', coalesce(jsonb_agg(item ORDER BY at DESC), '[]'), 'next_cursor', NULL)::text
FROM (SELECT p.damaged_at AS at, jsonb_build_object('pack', p.object, 'store', r.store, 'key_set', nullif(r.key_set, ''), 'kind', p.kind,
        'bytes', p.bytes, 'found_at', holdfast.rfc3339(p.damaged_at), 'why', p.damage, 'chunks', l.chunks, 'lost_chunks', l.lost,
        'backups', coalesce(b.list, '[]'), 'backup_count', coalesce(b.n, 0), 'entries', coalesce(e.list, '[]'),
        'next', CASE WHEN coalesce(b.n, 0) = 0 THEN 'no backup needs it: the next run of the collector lays it aside in quarantine'
                     WHEN l.lost = 0 THEN 'every chunk of it is stored elsewhere by now: holdfast verify BACKUP --level content shows it'
                     ELSE 'holdfast run SOURCE stores again what is still there; then holdfast verify BACKUP --level content' END) AS item
      FROM holdfast.pack p JOIN holdfast.repository r ON r.no = p.repository
      CROSS JOIN LATERAL holdfast.pack_lost_chunks(p.repository, p.no) l
      LEFT JOIN LATERAL (SELECT count(*) AS n, jsonb_agg(jsonb_build_object('id', holdfast.backup_text(d.backup), 'source', s.name,
            'consistent_at', holdfast.rfc3339(d.consistent_at)) ORDER BY d.consistent_at DESC) FILTER (WHERE d.place <= 100) AS list
          FROM (SELECT x.backup, x.source, x.consistent_at, row_number() OVER (ORDER BY x.consistent_at DESC) AS place
                FROM holdfast.backup_damage x WHERE x.pack_no = p.no) d JOIN holdfast.source s ON s.no = d.source) b ON true
      LEFT JOIN LATERAL (SELECT jsonb_agg(DISTINCT f.one ->> 'path') AS list FROM holdfast.verification v
          CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(v.checks -> 'damage') WHEN 'array' THEN v.checks -> 'damage' ELSE '[]' END) f(one)
          WHERE v.result = 'failed' AND f.one ->> 'object' = p.object::text AND f.one ->> 'path' <> '') e ON true
      WHERE p.damaged_at IS NOT NULL AND p.state <> 'deleted' AND ($4 IS NULL OR r.store = $4)
      ORDER BY p.damaged_at DESC LIMIT $12) x
