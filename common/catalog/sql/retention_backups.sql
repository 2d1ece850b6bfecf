-- A row a backup of source $1 in repository $2, oldest first: what decides whether it stays.
SELECT id, at, started_at, committed_at, sequence, schedule, quality, proved, in_use, held_until, locked_until, bytes, outcome
FROM holdfast.retention_backups($1, $2)
