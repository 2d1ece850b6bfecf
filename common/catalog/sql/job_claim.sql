-- A row a claim: its place in the arguments, status, attempt, the order as JSON text, what is missing.
SELECT n, status, attempt, job_order, missing FROM holdfast.job_claims($1, $2::bigint[], $3::bigint[], $4::uuid[])
