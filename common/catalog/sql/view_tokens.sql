-- One row: a page of tokens, newest first, without their hashes; $5 cursor.
SELECT jsonb_build_object('items', coalesce(jsonb_agg(jsonb_build_object('id', 'tk_' || t.id, 'name', t.name, 'role', t.role,
    'created_at', holdfast.rfc3339(t.created_at), 'created_by', t.created_by, 'expires_at', holdfast.rfc3339(t.expires_at),
    'used_at', holdfast.rfc3339(t.used_at),
    'state', CASE WHEN t.revoked_at IS NOT NULL THEN 'revoked' WHEN t.expires_at <= clock_timestamp() THEN 'expired' ELSE 'active' END)
    ORDER BY t.id DESC), '[]'), 'next_cursor', CASE WHEN count(*) = $12 THEN min(t.id)::text END)::text
FROM (SELECT * FROM holdfast.token WHERE $5 IS NULL OR id < $5::bigint ORDER BY id DESC LIMIT $12) t
