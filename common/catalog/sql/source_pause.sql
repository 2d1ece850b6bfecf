-- One row: the source is paused until then; NULL: it is resumed.
SELECT holdfast.source_pause($1, $2, $3, $4)
