-- A row a claim: its place in the arguments, status, attempt, the order as JSON text, what is missing. In one order, so that two
-- workers that claim the same jobs do not wait for each other.
SELECT x.n, c.status, c.attempt, c.job_order, c.missing
FROM (SELECT * FROM unnest($2::bigint[], $3::bigint[], $4::uuid[]) WITH ORDINALITY AS u(job, dispatch, claim, n) ORDER BY u.job, u.n) x,
  LATERAL holdfast.job_claim($1, x.job, x.dispatch, x.claim) c
