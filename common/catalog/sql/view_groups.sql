-- One row: barriers of groups, newest first, and groups that had none yet; $2 states, $4 group, $10 since, $11 until, $12 limit.
SELECT jsonb_build_object('items', coalesce(jsonb_agg(item ORDER BY made_at DESC NULLS LAST, name), '[]'), 'next_cursor', NULL)::text
FROM (
  SELECT * FROM (SELECT x.group_name AS name, x.made_at, jsonb_build_object('group', x.group_name, 'barrier', x.run, 'state', x.state,
        'at', holdfast.rfc3339(x.at), 'made_at', holdfast.rfc3339(x.made_at), 'released_at', holdfast.rfc3339(x.released_at),
        'job', holdfast.job_text(x.job), 'code', x.code, 'cause', x.cause, 'members', x.members) AS item
      FROM holdfast.group_barriers x WHERE ($4 IS NULL OR x.group_name = $4) AND ($2 IS NULL OR x.state = ANY (string_to_array($2, ',')))
        AND ($10 IS NULL OR x.at >= $10) AND ($11 IS NULL OR x.at <= $11) ORDER BY x.made_at DESC LIMIT $12) had
  UNION ALL
  SELECT g.name, NULL, jsonb_build_object('group', g.name, 'barrier', NULL, 'state', 'never', 'at', NULL, 'made_at', NULL, 'released_at', NULL,
      'job', NULL, 'code', NULL, 'cause', NULL, 'members', (SELECT jsonb_agg(jsonb_build_object('source', m.name) ORDER BY m.n)
        FROM jsonb_array_elements_text(g.spec -> 'members') WITH ORDINALITY AS m(name, n)))
    FROM holdfast.source_group g WHERE g.retired_at IS NULL AND ($4 IS NULL OR g.name = $4) AND $2 IS NULL AND $10 IS NULL AND $11 IS NULL
      AND NOT EXISTS (SELECT FROM holdfast.group_run r WHERE r.name = g.name)) y
