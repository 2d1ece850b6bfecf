-- One row: is what a dead attempt of this job owes somebody else's to do?
SELECT holdfast.job_passed($1, $2)
