-- One row: whether an upload to that name in this job's store was a plain copy's that nobody writes any more.
SELECT holdfast.plain_left($1, $2, $3, $4)
