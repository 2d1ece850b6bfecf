-- One row: the worker's number.
SELECT holdfast.enroll($1, $2, $3, $4, $5, $6), holdfast.enroll_pruner($1, $7)
