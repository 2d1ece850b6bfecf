-- One row: the stores by name, with their repositories; configuration holds references, no secrets.
SELECT jsonb_build_object('items', coalesce(jsonb_agg(jsonb_build_object('name', s.name, 'type', s.config ->> 'type', 'config', s.config,
    'repositories', (SELECT coalesce(jsonb_agg(jsonb_build_object('number', r.no, 'id', r.id, 'key_set', nullif(r.key_set, ''),
        'epoch', r.gc_epoch, 'rolled_back', r.rolled_back,
        'frozen_at', holdfast.rfc3339(r.frozen_at), 'frozen_reason', r.frozen_reason,
        'backups', (SELECT count(*) FROM holdfast.backup_place b WHERE b.repository = r.no AND b.deleted_at IS NULL),
        'stored_bytes', (SELECT coalesce(sum(p.bytes), 0) FROM holdfast.pack p WHERE p.repository = r.no AND p.state IN ('live', 'condemned')),
        'damaged_packs', (SELECT count(*) FROM holdfast.pack p WHERE p.repository = r.no AND p.damaged_at IS NOT NULL AND p.state <> 'deleted'),
        'orphans', (SELECT count(*) FROM holdfast.orphan o WHERE o.repository = r.no AND o.state IN ('seen', 'moving') AND o.why <> 'foreign'),
        'unknown_backups', (SELECT count(*) FROM holdfast.orphan o WHERE o.repository = r.no AND o.state = 'seen' AND o.kind = 'marker' AND o.why = 'unknown'),
        'quarantine_bytes', (SELECT coalesce(sum(o.bytes), 0) FROM holdfast.orphan o WHERE o.repository = r.no AND o.state = 'quarantined'),
        'orphan_scan_at', (SELECT holdfast.rfc3339(max(x.ended_at)) FROM holdfast.orphan_scan x WHERE x.repository = r.no),
        'keys', CASE WHEN r.key_set <> '' THEN (SELECT jsonb_build_object(
            'writers', coalesce(jsonb_agg(w.name ORDER BY w.name) FILTER (WHERE i.facts -> 'roles' ? 'write'), '[]'),
            'readers', coalesce(jsonb_agg(w.name ORDER BY w.name) FILTER (WHERE w.reader AND i.facts -> 'roles' ? 'read'), '[]'),
            'pruners', coalesce(jsonb_agg(w.name ORDER BY w.name) FILTER (WHERE w.pruner AND i.facts -> 'roles' ? 'prune'), '[]'),
            'reencrypt_generation', r.reencrypt_generation, 'reencrypt_left', r.reencrypt_packs, 'reencrypt_left_bytes', r.reencrypt_bytes,
            'reencrypt_at', holdfast.rfc3339(r.reencrypt_at))
          FROM holdfast.worker w JOIN holdfast.worker_instance i ON i.worker = w.no AND i.bye_at IS NULL
          WHERE w.retired_at IS NULL AND i.facts -> 'key_sets' ? r.key_set) END) ORDER BY r.no), '[]')
      FROM holdfast.repository r WHERE r.store = s.name)) ORDER BY s.name), '[]'), 'next_cursor', NULL)::text
FROM holdfast.store s WHERE s.retired_at IS NULL
