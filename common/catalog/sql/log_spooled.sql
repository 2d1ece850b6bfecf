-- One row: the job that was made, or NULL.
SELECT holdfast.log_spooled($1, $2, $3, $4)
