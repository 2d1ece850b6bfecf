-- One row: every schedule of the living sources.
SELECT jsonb_build_object('items', coalesce(jsonb_agg(jsonb_build_object('source', s.name, 'schedule', c.name, 'rule', c.at, 'kind', c.kind,
    'timezone', c.timezone, 'last_slot', holdfast.rfc3339(c.last_slot), 'paused', coalesce(s.paused_until > clock_timestamp(), false))
    ORDER BY s.name, c.name), '[]'), 'next_cursor', NULL)::text
FROM holdfast.schedule c JOIN holdfast.source s ON s.no = c.source WHERE s.retired_at IS NULL AND ($1 IS NULL OR s.name = $1)
