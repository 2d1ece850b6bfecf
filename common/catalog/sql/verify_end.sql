-- A row for each backup and damaged pack of it that holds what is nowhere else; one without a backup when there is none.
SELECT backup, object, chunks, proved FROM holdfast.verify_end($1, $2, $3)
