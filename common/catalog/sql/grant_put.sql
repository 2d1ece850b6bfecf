-- One row: nothing. A part of a grant, sealed.
SELECT holdfast.grant_put($1, $2, $3, $4, $5, $6)
