-- No row: the event is kept, to be chained later.
INSERT INTO holdfast.audit_event(actor, actor_kind, via, client_ip, action, object, reason, result, detail)
VALUES ($1, $2, $3, nullif($4, '')::inet, $5, $6, nullif($7, ''), $8, $9::text::jsonb)
