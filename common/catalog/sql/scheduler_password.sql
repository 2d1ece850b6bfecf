-- One row: the scheduler's role has this SCRAM verifier as password.
SELECT holdfast.scheduler_password($1)
