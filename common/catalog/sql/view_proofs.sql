-- One row: the last proven restore of each source; $4 source.
SELECT jsonb_build_object('items', coalesce(jsonb_agg(holdfast.proof_json(p) ORDER BY p.verdict = 'ok', p.source), '[]'), 'next_cursor', NULL)::text
FROM holdfast.proofs p WHERE $4 IS NULL OR p.source = $4
