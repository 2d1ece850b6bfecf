-- A row when a living token had that name or id (tk_…); audited, with the reason $3.
WITH gone AS (UPDATE holdfast.token SET revoked_at = clock_timestamp() WHERE $1::text IN (name, 'tk_' || id) AND revoked_at IS NULL RETURNING id),
noted AS (INSERT INTO holdfast.audit_event(actor, actor_kind, via, action, object, reason, result)
  SELECT $2, 'user', 'api', 'token.revoke', $1, $3, 'ok' FROM gone)
SELECT id FROM gone
