-- One row: version, whether anything changed, and what did.
SELECT version, changed, added, updated, retired, cancelled, initial, digest FROM holdfast.policy_apply_by($1, $2, $3, $4, $5, $6, $7)
