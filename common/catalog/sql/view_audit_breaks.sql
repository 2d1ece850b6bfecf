-- One row: where the chain does not hold; no items: it is whole.
SELECT jsonb_build_object('items', coalesce(jsonb_agg(jsonb_build_object('seq', b.seq, 'at', holdfast.rfc3339(b.at), 'action', b.action,
    'finding', b.finding) ORDER BY b.seq), '[]'), 'next_cursor', NULL, 'events', (SELECT count(*) FROM holdfast.audit_event WHERE seq IS NOT NULL),
  'head', (SELECT encode(hash, 'hex') FROM holdfast.audit_event WHERE seq IS NOT NULL ORDER BY seq DESC LIMIT 1))::text
FROM holdfast.audit_breaks b
