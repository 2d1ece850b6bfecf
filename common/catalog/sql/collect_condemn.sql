-- One row: how many packs were condemned so far, with how many bytes, how many pardoned, how many live on, how many remain.
SELECT condemned, bytes, pardoned, live, remaining FROM holdfast.collect_condemn($1, $2, $3, $4)
