-- One row: what a scan would do.
SELECT ripe, over, blocked FROM holdfast.orphan_look($1, $2, $3, $4)
