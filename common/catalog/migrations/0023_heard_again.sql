-- Leases that lapse in a mass are waited out, because it may be the network. It is not the network where
-- a worker was heard again since: it was killed and started anew (a whole rack, a deployment), and its
-- jobs must not wait for minutes. Only leases of workers that are silent count towards the mass.
CREATE OR REPLACE FUNCTION reap() RETURNS TABLE (job bigint, attempt bigint, instance uuid, state text, suspects int, grace boolean, mass boolean)
  LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  keeper reaper;
  l lease;
  j job;
  expired int;
  alive int;
  looked int := 0;
  ended text;
BEGIN
  PERFORM need_read_committed();
  SELECT * INTO keeper FROM reaper FOR UPDATE SKIP LOCKED;
  IF NOT FOUND THEN
    RETURN QUERY SELECT 0::bigint, 0::bigint, NULL::uuid, '', 0, false, false; -- another scheduler is at it
    RETURN;
  END IF;
  IF clock_timestamp() < greatest(keeper.hold_until, pg_postmaster_start_time() + make_interval(secs => setting_of('grace_s'))) THEN
    RETURN QUERY SELECT 0::bigint, 0::bigint, NULL::uuid, '', 0, true, false;
    RETURN;
  END IF;
  SELECT count(*) FILTER (WHERE x.expires_at <= clock_timestamp() AND NOT EXISTS (
           SELECT FROM worker_instance i WHERE i.worker = x.worker AND i.seen_at > x.expires_at)), count(*)
    INTO expired, alive FROM lease x;
  IF alive >= setting_of('mass_leases') AND expired > alive * setting_of('mass_share') THEN
    UPDATE reaper SET mass_since = coalesce(mass_since, clock_timestamp()) RETURNING * INTO keeper;
    IF clock_timestamp() < keeper.mass_since + make_interval(secs => setting_of('mass_wait_s')) THEN
      RETURN QUERY SELECT 0::bigint, 0::bigint, NULL::uuid, '', expired, false, true;
      RETURN;
    END IF;
  ELSIF keeper.mass_since IS NOT NULL THEN
    UPDATE reaper SET mass_since = NULL;
  END IF;
  FOR l IN SELECT * FROM lease WHERE expires_at <= clock_timestamp() ORDER BY job LOOP
    IF l.suspect_expires IS DISTINCT FROM l.expires_at THEN
      UPDATE lease SET suspect_at = clock_timestamp(), suspect_expires = expires_at WHERE job IN (
        SELECT x.job FROM lease x WHERE x.job = l.job AND x.attempt = l.attempt AND x.expires_at = l.expires_at FOR UPDATE SKIP LOCKED);
      looked := looked + 1;
    ELSIF clock_timestamp() < l.suspect_at + make_interval(secs => setting_of('looks_s')) THEN
      looked := looked + 1;
    ELSE
      SELECT * INTO j FROM job x WHERE x.id = l.job AND x.state = 'running' AND x.attempt = l.attempt FOR UPDATE SKIP LOCKED;
      CONTINUE WHEN NOT FOUND;
      PERFORM FROM lease x WHERE x.job = l.job AND x.attempt = l.attempt AND x.expires_at = l.expires_at
        AND x.expires_at <= clock_timestamp() FOR UPDATE SKIP LOCKED;
      CONTINUE WHEN NOT FOUND; -- renewed between the two looks and now
      ended := job_end(j, 'lost', 'unreachable', 'worker.lost',
        format('worker %s was not heard of since %s', (SELECT name FROM worker WHERE no = l.worker),
               to_char(l.beat_at AT TIME ZONE 'UTC', 'HH24:MI:SS"Z"')), true);
      RETURN QUERY SELECT j.id, l.attempt, l.instance, ended, 0, false, false;
    END IF;
  END LOOP;
  RETURN QUERY SELECT 0::bigint, 0::bigint, NULL::uuid, '', looked, false, false;
END $$;
