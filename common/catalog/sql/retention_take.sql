-- A row a backup that this retention job may let go at this moment, with the reason.
SELECT backup, reason FROM holdfast.retention_take($1, $2, $3)
