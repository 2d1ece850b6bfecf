-- A row a pack that a backup names, of some backups, ascending.
SELECT backup, manifest_sha256, going, no FROM holdfast.repack_backups($1, $2, $3, $4, $5, $6)
