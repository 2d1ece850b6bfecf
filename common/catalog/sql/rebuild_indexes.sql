-- Those of these index objects that were imported already.
SELECT holdfast.rebuild_indexes($1, $2, $3, $4, $5)
