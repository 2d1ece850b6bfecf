-- One row: what each job that runs reports of itself.
SELECT jsonb_build_object('items', coalesce(jsonb_agg(jsonb_build_object('job', holdfast.job_text(l.job), 'source', s.name, 'kind', j.kind,
    'state', j.state, 'attempt', l.attempt, 'phase', l.phase, 'bytes_done', l.bytes_done, 'bytes_total', l.bytes_total,
    'total_basis', l.total_basis, 'items_done', l.items_done, 'errors', l.errors, 'stored', l.stored) ORDER BY l.job), '[]'), 'next_cursor', NULL)::text
FROM holdfast.lease l JOIN holdfast.job j ON j.id = l.job LEFT JOIN holdfast.source s ON s.no = j.source
