-- One row: nothing. The epoch is in the store.
SELECT holdfast.collect_confirm($1, $2, $3, $4)
