-- A row a backup of $2 that would free something of repository $1 if all of them went.
SELECT backup, bytes FROM holdfast.retention_frees($1, $2)
