-- One row: whether the job still waited for this plan.
SELECT holdfast.retention_plan($1, $2, $3, $4, $5, $6)
