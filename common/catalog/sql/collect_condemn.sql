-- One row: how many packs were condemned, with how many bytes, how many pardoned, how many live on.
SELECT condemned, bytes, pardoned, live FROM holdfast.collect_condemn($1, $2, $3, $4)
