-- The file of that number is gone.
SELECT holdfast.plain_gone($1, $2, $3, $4)
