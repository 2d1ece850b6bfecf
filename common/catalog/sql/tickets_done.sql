-- A row a ticket (its place in the arguments) that waits for no claim any more.
SELECT x.n FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS x(job, dispatch, n)
LEFT JOIN holdfast.job j ON j.id = x.job AND j.dispatch = x.dispatch AND j.state IN ('pending', 'queued', 'running') WHERE j.id IS NULL
