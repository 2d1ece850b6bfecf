-- One row: nothing. What these hosts stored is shared only after a reader has seen it.
SELECT holdfast.session_revoked($1, $2, $3, $4, $5, $6)
