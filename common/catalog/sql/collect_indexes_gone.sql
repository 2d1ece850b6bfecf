-- One row: nothing. The index objects of these backups are off the store.
SELECT holdfast.collect_indexes_gone($1, $2, $3, $4)
