-- One row: nothing. What backups need of these packs was counted.
SELECT holdfast.repack_looked($1, $2, $3, $4, $5)
