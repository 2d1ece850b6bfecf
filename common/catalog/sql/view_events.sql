-- One row: the outbox after a number, ascending; $7 after.
SELECT jsonb_build_object('items', coalesce(jsonb_agg(item ORDER BY id), '[]'), 'next_cursor', coalesce(max(id), (SELECT max(id) FROM holdfast.event))::text)::text
FROM (SELECT e.id, jsonb_build_object('id', e.id, 'at', holdfast.rfc3339(e.at), 'event', e.kind, 'source', s.name, 'job', holdfast.job_text(e.job),
        'data', e.data) AS item
      FROM holdfast.event e LEFT JOIN holdfast.source s ON s.no = e.source WHERE e.id > coalesce($7, 0) ORDER BY e.id LIMIT $12) x
