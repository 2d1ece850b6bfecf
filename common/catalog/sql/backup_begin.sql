-- One row: nothing. Under this name the attempt is going to write a backup.
SELECT holdfast.backup_begin($1, $2, $3, $4)
