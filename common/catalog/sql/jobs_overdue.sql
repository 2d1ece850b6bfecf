-- One row: how many waiting jobs missed their start deadline.
SELECT holdfast.jobs_overdue()
