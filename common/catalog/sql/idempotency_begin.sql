-- One row: was the key new; else the same request?, status (0: still at it) and body of the first.
WITH made AS (INSERT INTO holdfast.idempotency(actor, key, request) VALUES ($1, $2, $3) ON CONFLICT (actor, key) DO NOTHING RETURNING 1)
SELECT EXISTS (SELECT FROM made), coalesce(i.request = $3, true), coalesce(i.status, 0), coalesce(i.body, '')
FROM (SELECT 1) one LEFT JOIN holdfast.idempotency i ON i.actor = $1 AND i.key = $2
