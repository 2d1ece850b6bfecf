-- A row for a living token with this hash; using it is noted at most once a minute.
WITH used AS (UPDATE holdfast.token SET used_at = clock_timestamp() WHERE hash = $1 AND revoked_at IS NULL
    AND (used_at IS NULL OR used_at < clock_timestamp() - interval '1 minute'))
SELECT id, name, role, expires_at FROM holdfast.token WHERE hash = $1 AND revoked_at IS NULL AND expires_at > clock_timestamp()
