-- One row: which grant, for which worker, its certificate, until which Unix second.
SELECT id, worker, certificate, until FROM holdfast.grant_wanted($1, $2, $3)
