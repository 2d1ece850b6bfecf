-- No row.
SELECT holdfast.source_suspect($1, $2, $3)
