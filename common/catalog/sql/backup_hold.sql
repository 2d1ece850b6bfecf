-- One row: the job that says in the store what is held from now on, and its pool.
SELECT job, pool FROM holdfast.backup_hold($1, $2, $3, $4, $5)
