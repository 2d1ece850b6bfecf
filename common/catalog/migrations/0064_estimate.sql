-- How long a restore will take, from what restores took: measured, with its basis, or nothing at all.
CREATE INDEX job_restored ON job(source, id) WHERE kind = 'restore' AND state = 'completed';
CREATE INDEX job_restored_any ON job(id) WHERE kind = 'restore' AND state = 'completed';

-- A whole restore that was done: what it took and gave. (An attempt's own counters are those of its last heartbeat.)
CREATE FUNCTION restore_done(j job) RETURNS TABLE (seconds double precision, bytes bigint, items bigint, at timestamptz)
  LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT extract(epoch FROM a.ended_at - a.started_at)::double precision, x.bytes, x.entries, a.ended_at
    FROM job_attempt a JOIN backup x ON x.id = j.backup
    WHERE a.job = j.id AND a.outcome = 'completed' AND x.bytes > 0 AND x.entries > 0 AND NOT j.params ? 'fetch'
      AND coalesce(j.params #> '{select,paths}', '[]') = '[]' AND coalesce(j.params #> '{select,globs}', '[]') = '[]' ORDER BY a.attempt DESC LIMIT 1 $$;

-- What this backup's restore takes by the median of the last three of its source (basis restored), of the last ten of sources
-- of its type (others), or by checks that read all of it (checked: it takes no less). Larger than what was measured by bytes
-- or by entries, it takes as much longer. NULL: nothing was measured.
CREATE FUNCTION restore_estimate(p_backup uuid) RETURNS jsonb LANGUAGE sql STABLE SET search_path = holdfast, pg_temp SET jit = off AS $$
  WITH b AS (SELECT x.bytes, x.entries, x.source, s.type, s.rto_s FROM backup x JOIN source s ON s.no = x.source WHERE x.id = p_backup),
  own AS (SELECT 1 AS n, 'restored' AS basis, d.* FROM b CROSS JOIN LATERAL (SELECT d.* FROM job j CROSS JOIN LATERAL restore_done(j) d
      WHERE j.source = b.source AND j.kind = 'restore' AND j.state = 'completed' ORDER BY j.id DESC LIMIT 3) d),
  others AS (SELECT 2 AS n, 'others' AS basis, d.* FROM b CROSS JOIN LATERAL (SELECT d.* FROM (SELECT j FROM job j
      WHERE j.kind = 'restore' AND j.state = 'completed' ORDER BY j.id DESC LIMIT 200) r JOIN source s ON s.no = (r.j).source AND s.type = b.type
      CROSS JOIN LATERAL restore_done(r.j) d WHERE s.no <> b.source ORDER BY (r.j).id DESC LIMIT 10) d),
  checked AS (SELECT 3 AS n, 'checked' AS basis, d.* FROM b CROSS JOIN LATERAL (
      SELECT extract(epoch FROM v.finished_at - v.started_at)::double precision AS seconds, x.bytes, x.entries AS items, v.finished_at AS at
      FROM backup x JOIN verification v ON v.backup = x.id AND v.level = 'content' AND v.result = 'ok' JOIN job j ON j.id = v.job AND j.backup = x.id
      WHERE x.source = b.source AND x.bytes > 0 AND x.entries > 0 ORDER BY v.id DESC LIMIT 3) d),
  measured AS (SELECT * FROM own UNION ALL SELECT * FROM others UNION ALL SELECT * FROM checked),
  best AS (SELECT m.basis, count(*) AS samples, max(m.at) AS at,
      percentile_cont(0.5) WITHIN GROUP (ORDER BY m.seconds * greatest(b.bytes::double precision / m.bytes, b.entries::double precision / m.items)) AS seconds
    FROM measured m, b GROUP BY m.n, m.basis ORDER BY m.n LIMIT 1)
  SELECT jsonb_build_object('seconds', ceil(best.seconds), 'basis', best.basis, 'samples', best.samples, 'at', rfc3339(best.at),
    'rto_seconds', (SELECT rto_s FROM b)) FROM best $$;

CREATE OR REPLACE FUNCTION job_order(j job) RETURNS jsonb LANGUAGE plpgsql STABLE SET search_path = holdfast, pg_temp AS $$
BEGIN
  IF j.kind IS DISTINCT FROM 'probe' THEN
    RETURN job_order_places(j);
  ELSIF j.params ? 'against' THEN
    RETURN job_order_places(j) || jsonb_build_object('against', places_json(job_against(j), j.pool, j.repository));
  ELSIF j.params ->> 'probe' = 'restore_plan' THEN
    RETURN job_order_places(j) || jsonb_build_object('estimate', restore_estimate(j.backup));
  END IF;
  RETURN job_order_places(j);
END $$;

REVOKE ALL ON FUNCTION restore_done, restore_estimate FROM PUBLIC;
GRANT EXECUTE ON FUNCTION restore_done, restore_estimate TO holdfast_scheduler;
