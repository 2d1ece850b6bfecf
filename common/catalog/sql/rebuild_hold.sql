-- One row: whether that was news.
SELECT holdfast.rebuild_hold($1, $2, $3, $4, $5, $6, $7)
