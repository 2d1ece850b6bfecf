-- One row: is a cancel asked for? Fails when the fence does not hold.
SELECT holdfast.job_held($1, $2, $3)
