-- A pack that was read is not what its row says.
SELECT holdfast.copy_damaged($1, $2, $3, $4, $5)
