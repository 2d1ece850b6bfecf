-- One row: the worker's number.
SELECT holdfast.enroll($1, $2, $3, $4, $5, $6)
