-- One row: the backup of this job, until when it is held, and why.
SELECT backup, until, reason FROM holdfast.hold_now($1, $2, $3)
