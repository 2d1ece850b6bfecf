-- A row when there is such a pool; audited.
WITH changed AS (UPDATE holdfast.pool SET paused = $2 WHERE name = $1 RETURNING no),
noted AS (INSERT INTO holdfast.audit_event(actor, actor_kind, via, action, object, reason, result)
  SELECT $3, 'user', 'api', CASE WHEN $2 THEN 'queue.pause' ELSE 'queue.resume' END, $1, nullif($4, ''), 'ok' FROM changed)
SELECT no FROM changed
