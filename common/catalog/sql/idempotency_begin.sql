-- One row: was the key new; else the same request?, status (0: still at it) and body of the first.
-- Who has been at it for a minute is gone: the key begins again, and what it made is found by job_create.
WITH made AS (INSERT INTO holdfast.idempotency AS i (actor, key, request) VALUES ($1, $2, $3)
  ON CONFLICT (actor, key) DO UPDATE SET created_at = clock_timestamp()
    WHERE i.request = $3 AND i.status IS NULL AND i.created_at < clock_timestamp() - interval '1 minute' RETURNING 1)
SELECT EXISTS (SELECT FROM made), coalesce(i.request = $3, true), coalesce(i.status, 0), coalesce(i.body, '')
FROM (SELECT 1) one LEFT JOIN holdfast.idempotency i ON i.actor = $1 AND i.key = $2
