-- A row a retention job that waits for a plan; $1 at most.
SELECT job, source, repository FROM holdfast.retention_due($1)
