-- One row: the marker is known to be there.
SELECT holdfast.marker_done($1, $2, $3, $4)
