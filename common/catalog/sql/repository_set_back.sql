-- One row: was it news that the repository was set back?
SELECT holdfast.repository_set_back($1, $2, $3, $4, $5, $6)
