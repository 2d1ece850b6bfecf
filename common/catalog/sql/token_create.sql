-- One row: the token's number; audited.
WITH made AS (INSERT INTO holdfast.token(name, role, hash, expires_at, created_by) VALUES ($1, $2, $3, $4, $5) RETURNING id),
noted AS (INSERT INTO holdfast.audit_event(actor, actor_kind, via, action, object, result, detail)
  SELECT $5, 'user', 'api', 'token.create', $1, 'ok', jsonb_build_object('role', $2::text) FROM made)
SELECT id FROM made
