-- One row: a page of backups, newest first; $1 source, $2 states, $4 store, $5 cursor, $8-$9 ids, $10 since, $11 until.
SELECT jsonb_build_object('items', coalesce(jsonb_agg(item ORDER BY id DESC), '[]'),
  'next_cursor', CASE WHEN count(*) = $12 THEN (array_agg(id ORDER BY id))[1]::text END)::text
FROM (SELECT b.id, holdfast.backup_json(b) AS item FROM holdfast.backup b
      WHERE b.deleted_at IS NULL AND ($1 IS NULL OR b.source = (SELECT no FROM holdfast.source WHERE name = $1))
        AND ($2 IS NULL OR b.outcome = ANY (string_to_array($2, ',')))
        AND ($4 IS NULL OR EXISTS (SELECT FROM holdfast.backup_place p JOIN holdfast.repository r ON r.no = p.repository
          WHERE p.backup = b.id AND p.deleted_at IS NULL AND r.store = $4))
        AND ($5 IS NULL OR b.id < $5::uuid) AND ($8 IS NULL OR b.id >= $8) AND ($9 IS NULL OR b.id <= $9)
        AND ($10 IS NULL OR b.consistent_at >= $10) AND ($11 IS NULL OR b.consistent_at < $11)
      ORDER BY b.id DESC LIMIT $12) x
