-- One row: audit events, newest first; $4 action, $5 cursor, $10 since, $11 until.
SELECT jsonb_build_object('items', coalesce(jsonb_agg(item ORDER BY id DESC), '[]'), 'next_cursor', CASE WHEN count(*) = $12 THEN min(id)::text END)::text
FROM (SELECT e.id, jsonb_build_object('seq', e.seq, 'at', holdfast.rfc3339(e.at), 'actor', e.actor, 'actor_kind', e.actor_kind, 'via', e.via,
        'client_ip', host(e.client_ip), 'action', e.action, 'object', e.object, 'reason', e.reason, 'result', e.result, 'detail', e.detail) AS item
      FROM holdfast.audit_event e WHERE ($4 IS NULL OR e.action = $4) AND ($5 IS NULL OR e.id < $5::bigint)
        AND ($10 IS NULL OR e.at >= $10) AND ($11 IS NULL OR e.at < $11) ORDER BY e.id DESC LIMIT $12) x
