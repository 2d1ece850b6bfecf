-- Another place of the job's backup may be read from now on.
SELECT holdfast.place_open($1, $2, $3, $4)
