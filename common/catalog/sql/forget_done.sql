-- One row: nothing. Marker, manifest and parents of a deleted backup are off the store.
SELECT holdfast.forget_done($1, $2, $3, $4)
