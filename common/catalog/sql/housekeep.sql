-- One row: what has had its time is gone.
SELECT holdfast.housekeep()
