-- A copy counts in the limits of the store that it writes to, as a backup does: max_uploads and max_rate.
CREATE OR REPLACE FUNCTION job_scopes(j holdfast.job) RETURNS text[] LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF j.trigger = 'emergency' THEN
    RETURN '{}';
  END IF;
  RETURN (SELECT coalesce(array_agg(x.scope ORDER BY x.scope COLLATE "C"), '{}') FROM (
    SELECT 'pool:' || p.name AS scope FROM holdfast.pool p WHERE p.no = j.pool
    UNION SELECT 'store:' || r.store FROM holdfast.repository r WHERE r.no = j.repository AND j.kind = 'copy'
    UNION SELECT unnest(s.scopes) FROM holdfast.source s WHERE s.no = j.source AND j.kind = 'backup') x
    WHERE EXISTS (SELECT FROM holdfast.limit_slot l WHERE l.scope = x.scope));
END $$;
