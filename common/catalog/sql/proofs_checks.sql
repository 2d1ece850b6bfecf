-- Verifications that the store does not say yet.
SELECT id, backup, level, result, started_at, finished_at, worker, host, checks FROM holdfast.proofs_checks($1, $2, $3, $4)
