-- One row: status, attempt, the order as JSON text, what is missing.
SELECT status, attempt, job_order, missing FROM holdfast.job_claim($1, $2, $3, $4)
