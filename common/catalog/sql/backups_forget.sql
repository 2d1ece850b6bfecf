-- A row a backup: deleted, already, unknown, held, locked or pinned, and why.
SELECT backup, answer, why FROM holdfast.backups_forget($1, $2, $3, $4, $5)
