-- One row: the repository is known to have been set back.
SELECT holdfast.repository_set_back($1, $2, $3, $4)
