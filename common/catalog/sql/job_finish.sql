-- One row: the job's state now, or `fenced`.
SELECT holdfast.job_finish($1, $2, $3, $4, $5, $6, $7, $8)
