-- A row when there is such a worker; audited.
WITH changed AS (UPDATE holdfast.worker SET drain = $2 WHERE name = $1 AND retired_at IS NULL RETURNING no),
noted AS (INSERT INTO holdfast.audit_event(actor, actor_kind, via, action, object, reason, result)
  SELECT $3, 'user', 'api', CASE WHEN $2 THEN 'worker.drain' ELSE 'worker.resume' END, $1, nullif($4, ''), 'ok' FROM changed)
SELECT no FROM changed
