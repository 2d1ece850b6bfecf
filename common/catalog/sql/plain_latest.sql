-- Latest names this job's copy.
SELECT holdfast.plain_latest($1, $2, $3)
