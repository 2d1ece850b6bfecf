-- One row: the stores by name, with their repositories; configuration holds references, no secrets.
SELECT jsonb_build_object('items', coalesce(jsonb_agg(jsonb_build_object('name', s.name, 'type', s.config ->> 'type', 'config', s.config,
    'repositories', (SELECT coalesce(jsonb_agg(jsonb_build_object('number', r.no, 'id', r.id, 'key_set', nullif(r.key_set, ''),
        'epoch', r.gc_epoch, 'rolled_back', r.rolled_back,
        'frozen_at', holdfast.rfc3339(r.frozen_at), 'frozen_reason', r.frozen_reason,
        'backups', (SELECT count(*) FROM holdfast.backup_place b WHERE b.repository = r.no AND b.deleted_at IS NULL),
        'stored_bytes', (SELECT coalesce(sum(p.bytes), 0) FROM holdfast.pack p WHERE p.repository = r.no AND p.state IN ('live', 'condemned')),
        'damaged_packs', (SELECT count(*) FROM holdfast.pack p WHERE p.repository = r.no AND p.damaged_at IS NOT NULL)) ORDER BY r.no), '[]')
      FROM holdfast.repository r WHERE r.store = s.name)) ORDER BY s.name), '[]'), 'next_cursor', NULL)::text
FROM holdfast.store s WHERE s.retired_at IS NULL
