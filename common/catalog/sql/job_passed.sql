-- One row: does a later attempt of this job run?
SELECT holdfast.job_passed($1, $2)
