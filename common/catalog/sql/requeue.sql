-- A row a queued job whose ticket is to be pushed again.
SELECT job, dispatch, kind, urgent FROM holdfast.requeue($1, $2)
