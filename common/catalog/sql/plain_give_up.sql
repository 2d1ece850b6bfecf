-- The file that this job wrote is not what it should be.
SELECT holdfast.plain_give_up($1, $2, $3, $4)
