-- One row: the job of the reader that makes the grant, its pool, whether it was asked for already, the grant.
SELECT job, pool, again, id FROM holdfast.grant_ask($1, $2, $3, $4, $5, $6)
