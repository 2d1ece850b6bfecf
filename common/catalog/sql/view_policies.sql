-- One row: versions of the policy, newest first; $5 cursor, $12 limit.
SELECT jsonb_build_object('items', coalesce(jsonb_agg(item ORDER BY no DESC), '[]'), 'next_cursor', CASE WHEN count(*) = $12 THEN min(no)::text END)::text
FROM (SELECT v.no, jsonb_build_object('version', v.no, 'sha256', v.digest, 'applied_at', holdfast.rfc3339(v.applied_at), 'actor', v.actor,
        'via', v.via, 'reason', v.reason, 'in_force', v.no = (SELECT max(no) FROM holdfast.policy_version)) AS item
      FROM holdfast.policy_version v WHERE $5 IS NULL OR v.no < $5::bigint ORDER BY v.no DESC LIMIT $12) x
