-- One row: objects that no row accounts for and what lies in quarantine, what needs somebody first; $4 store, $12 limit.
SELECT jsonb_build_object('items', coalesce(jsonb_agg(item ORDER BY place, no DESC), '[]'), 'next_cursor', NULL)::text
FROM (SELECT x.place, x.no, jsonb_build_object('name', x.name, 'store', r.store, 'key_set', nullif(r.key_set, ''), 'kind', x.kind, 'why', x.why,
        'state', x.state, 'bytes', x.bytes, 'scans', x.scans, 'first_seen_at', holdfast.rfc3339(x.first_seen),
        'last_seen_at', holdfast.rfc3339(x.last_seen), 'quarantined_at', holdfast.rfc3339(x.quarantined_at),
        'place', CASE WHEN x.state IN ('moving', 'quarantined') THEN holdfast.orphan_place(x.no, x.name) END,
        'deletes_at', CASE WHEN x.state = 'quarantined' AND x.why <> 'damaged'
          THEN holdfast.rfc3339(x.quarantined_at + make_interval(secs => holdfast.setting_of('orphan_keep_s'))) END,
        'error', x.error,
        'next', CASE
          WHEN x.kind = 'marker' AND x.why = 'unknown' THEN 'a backup that the catalogue does not know: holdfast catalogue merge ' || r.store
          WHEN x.why = 'foreign' THEN 'not ours: take it away, or leave it'
          WHEN x.why = 'damaged' THEN 'evidence: it is never deleted by itself'
          WHEN x.retry_at > clock_timestamp() THEN 'the store did not let it go: tried again at ' || holdfast.rfc3339(x.retry_at)
          WHEN x.state IN ('seen', 'moving') THEN coalesce('stays, because ' || b.blocked, 'goes to quarantine when two scans have seen it a day apart')
          WHEN x.state = 'quarantined' THEN 'is deleted from quarantine in its time'
          ELSE 'nothing' END) AS item
      FROM (SELECT o.*, CASE WHEN o.kind = 'marker' AND o.why = 'unknown' THEN 0 WHEN o.error IS NOT NULL AND o.why <> 'damaged' THEN 1
              WHEN o.state IN ('seen', 'moving') THEN 2 WHEN o.state = 'quarantined' THEN 3 ELSE 4 END AS place
            FROM holdfast.orphan o WHERE $4 IS NULL OR EXISTS (SELECT FROM holdfast.repository y WHERE y.no = o.repository AND y.store = $4)
            ORDER BY place, o.no DESC LIMIT $12) x
      JOIN holdfast.repository r ON r.no = x.repository
      LEFT JOIN LATERAL (SELECT y.blocked FROM holdfast.orphan_scan y WHERE y.repository = x.repository AND y.ended_at IS NOT NULL
        ORDER BY y.began_at DESC LIMIT 1) b ON true) z
