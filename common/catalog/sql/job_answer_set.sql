-- One row: the answer is kept.
SELECT holdfast.job_answer_set($1, $2, $3, $4)
