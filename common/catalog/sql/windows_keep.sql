-- One row: whether the windows were taken as they are told; not those of a policy that is not in force.
SELECT holdfast.windows_keep($1, $2, $3, $4, $5, $6, $7, $8, $9)
