-- A row a plain copy of source $1 in store $2, oldest first: what decides whether it stays.
SELECT id, at, started_at, committed_at, sequence, schedule, quality, proved, in_use, held_until, locked_until, bytes, outcome
FROM holdfast.plain_backups($1, $2)
