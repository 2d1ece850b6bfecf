-- One row: how many backups name other packs now.
SELECT holdfast.repack_commit($1, $2, $3, $4, $5, $6, $7, $8, $9)
