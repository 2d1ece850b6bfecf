-- One row: the epoch that must be in the store before anything is deleted, and the one confirmed to be.
SELECT epoch, confirmed FROM holdfast.collect_epoch($1, $2, $3)
