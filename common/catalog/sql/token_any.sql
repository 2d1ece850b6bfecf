-- One row: is there a living token with this role?
SELECT EXISTS (SELECT FROM holdfast.token WHERE role = $1 AND revoked_at IS NULL AND expires_at > clock_timestamp())
