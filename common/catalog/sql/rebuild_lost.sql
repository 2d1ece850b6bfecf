-- One row: whether that was news.
SELECT holdfast.rebuild_lost($1, $2, $3, $4, $5, $6)
