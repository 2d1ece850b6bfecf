-- One row: the job's state now.
SELECT holdfast.job_cancel($1, $2, $3)
