-- One row: job, pool, whether it is the same job.
SELECT job, pool, again FROM holdfast.job_retry($1, $2)
