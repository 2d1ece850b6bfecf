-- A row when there is such a version; $1 NULL: the one in force.
SELECT no, digest, document, applied_at, actor, coalesce(via, ''), coalesce(reason, '') FROM holdfast.policy_version
WHERE $1::bigint IS NULL OR no = $1 ORDER BY no DESC LIMIT 1
