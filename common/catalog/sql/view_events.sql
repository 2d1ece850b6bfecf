-- One row: the outbox past $7, ascending, $12 at most, and those of the ids in $5 ("3,7") that are committed by now.
SELECT jsonb_build_object('items', coalesce(jsonb_agg(item ORDER BY id), '[]'), 'first_id', (SELECT min(id) FROM holdfast.event),
  'next_cursor', coalesce(max(id), (SELECT max(id) FROM holdfast.event))::text)::text
FROM (SELECT e.id, jsonb_build_object('id', e.id, 'at', holdfast.rfc3339(e.at), 'age_ms', (extract(epoch FROM clock_timestamp() - e.at) * 1000)::bigint, 'event', e.kind, 'source', s.name, 'job', holdfast.job_text(e.job),
        'data', jsonb_strip_nulls(e.data || jsonb_build_object('at', holdfast.rfc3339(e.at), 'source', s.name, 'job', holdfast.job_text(e.job),
          'trigger', j.trigger, 'slot', holdfast.rfc3339(j.slot)))) AS item
      FROM ((SELECT * FROM holdfast.event WHERE id > coalesce($7, 0) ORDER BY id LIMIT $12)
            UNION ALL SELECT * FROM holdfast.event WHERE id <= coalesce($7, 0) AND id = ANY (string_to_array($5, ',')::bigint[])) e
      LEFT JOIN holdfast.source s ON s.no = e.source LEFT JOIN holdfast.job j ON j.id = e.job) x
