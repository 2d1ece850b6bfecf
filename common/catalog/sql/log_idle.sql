-- One row: the job's state, or 'fenced'.
SELECT holdfast.log_idle($1, $2, $3, $4)
