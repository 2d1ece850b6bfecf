-- A row a job that is queued now: its ticket is to be pushed after this commit. It is not waited for: a server that forgets it in a
-- crash finds the job pending under the same number, for which the ticket that went out is as good.
SELECT job, dispatch, kind, urgent FROM set_config('synchronous_commit', 'off', true), holdfast.dispatch_pick($1, $2)
