-- A row when the source has so many backups: the id of the n-th newest that is consistent at or before the instant.
SELECT b.id FROM holdfast.backup b JOIN holdfast.source s ON s.no = b.source
WHERE s.name = $1 AND b.deleted_at IS NULL AND b.consistent_at <= coalesce($2::timestamptz, 'infinity') ORDER BY b.consistent_at DESC, b.id DESC OFFSET $3::bigint LIMIT 1
