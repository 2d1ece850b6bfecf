-- A copy's manifest and parent lists have the name of the backup, which was not drawn for it: a later attempt, or the next copy job,
-- takes what an earlier one left. So no session need be older than such an object to count on it.
CREATE OR REPLACE FUNCTION orphan_ripe(o orphan, p_job bigint) RETURNS boolean LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT o.state IN ('seen', 'moving') AND o.why IN ('unknown', 'left_over') AND (o.state = 'moving' OR o.scan = p_job AND o.scans > 1)
    AND NOT (o.kind = 'marker' AND o.why = 'unknown')
    AND o.last_seen - o.first_seen >= make_interval(secs => setting_of('orphan_age_s'))
    AND coalesce(o.retry_at, '-infinity') <= clock_timestamp()
    AND o.epoch <= (SELECT r.gc_epoch FROM repository r WHERE r.no = o.repository)
    AND (o.kind = 'manifest' OR NOT EXISTS (SELECT FROM orphan m
      WHERE m.repository = o.repository AND m.state IN ('seen', 'moving') AND m.kind = 'manifest' AND m.why = 'unknown'))
    AND NOT EXISTS (SELECT FROM session x JOIN job_attempt a ON a.job = x.job AND a.attempt = x.attempt JOIN job j ON j.id = x.job
      WHERE x.repository = o.repository AND x.state = 'open' AND x.job <> p_job
        AND (a.started_at <= o.first_seen OR j.kind = 'copy' AND o.kind IN ('manifest', 'parents'))) $$;

-- As before; what is accounted for by now is not deleted from quarantine: it is there to be put back.
CREATE OR REPLACE FUNCTION orphan_due(p_job bigint, p_attempt bigint, p_claim uuid, p_most int)
  RETURNS TABLE (no bigint, name text, place text, over boolean, bytes bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  s session := orphan_may(p_job, p_attempt, p_claim);
BEGIN
  RETURN QUERY SELECT o.no, o.name, orphan_place(o.no, o.name), o.state = 'quarantined', o.bytes FROM orphan o
    WHERE o.repository = s.repository AND (o.state IN ('seen', 'moving') AND orphan_ripe(o, p_job)
      OR o.state = 'quarantined' AND o.why <> 'damaged' AND coalesce(o.retry_at, '-infinity') <= clock_timestamp()
        AND o.quarantined_at <= clock_timestamp() - make_interval(secs => setting_of('orphan_keep_s'))
        AND EXISTS (SELECT FROM orphan_judge(o.repository, ARRAY[o.name]) j))
    ORDER BY o.kind <> 'manifest', o.no LIMIT p_most;
END $$;
