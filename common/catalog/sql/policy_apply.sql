-- One row: version, whether anything changed, and what did.
SELECT version, changed, added, updated, retired, cancelled, initial, digest FROM holdfast.policy_apply($1, $2, $3)
