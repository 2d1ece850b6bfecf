-- A row a lease that was renewed; n = 0 is the instance itself.
SELECT n, held, cancel, changed FROM holdfast.worker_beat($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
