-- Backups that the catalogue has, by id: id, hash of the manifest, whether it is marked.
SELECT backup, manifest_sha256, marked FROM holdfast.rebuild_backups($1, $2, $3, $4, $5, $6)
