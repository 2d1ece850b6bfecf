-- One row: whether latest is to name this copy.
SELECT holdfast.plain_commit($1, $2, $3)
