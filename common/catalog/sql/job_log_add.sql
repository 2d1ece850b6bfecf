-- One row: the lines are kept.
SELECT holdfast.job_log_add($1, $2, $3, $4, $5, $6, $7)
