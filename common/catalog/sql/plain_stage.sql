-- One row: whether the name is this job's to write.
SELECT holdfast.plain_stage($1, $2, $3, $4, nullif($5, ''), $6, $7, nullif($8::bytea, ''))
