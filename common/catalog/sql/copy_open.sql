-- One row: the backup, its manifest's sha256, its packs and their bytes where it is read, whether the target has it already.
SELECT backup, manifest_sha256, packs, bytes, present FROM holdfast.copy_open($1, $2, $3, $4)
