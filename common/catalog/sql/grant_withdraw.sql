-- One row: nothing. Nobody gets the grant any more.
SELECT holdfast.grant_withdraw($1, $2, $3)
