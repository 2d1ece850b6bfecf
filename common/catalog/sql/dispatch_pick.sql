-- A row a job that is queued now: its ticket is to be pushed after this commit.
SELECT job, dispatch, kind, urgent FROM holdfast.dispatch_pick($1, $2)
