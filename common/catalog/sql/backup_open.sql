-- One row: what a reader must know of the backup that its job is about; none: there is no such backup.
SELECT repository, repository_no, manifest_sha256, index_object, index_sha256, sequence, entries, bytes, consistent_at, source, source_type
FROM holdfast.backup_open($1, $2, $3, $4)
