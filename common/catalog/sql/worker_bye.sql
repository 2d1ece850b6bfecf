-- One row: the instance has ended.
SELECT holdfast.worker_bye($1)
