-- What model_tables.h compares, a line a row; instants as microseconds, 0 for none.
CREATE FUNCTION pg_temp.us(p_at timestamptz) RETURNS bigint LANGUAGE sql AS
  $$ SELECT CASE WHEN isfinite(p_at) THEN (extract(epoch FROM p_at) * 1000000)::bigint ELSE 0 END $$;
SELECT 'job', j.id, kind, state, coalesce(source, 0), p.name, coalesce(schedule, ''), pg_temp.us(slot), priority, pg_temp.us(run_at),
  pg_temp.us(start_by), pg_temp.us(queued_at), pg_temp.us(finished_at), attempt, dispatch, failures, max_failures, losses, deferrals,
  cancel_requested::int, coalesce(cause, '') FROM job j JOIN pool p ON p.no = j.pool ORDER BY j.id;
SELECT 'lease', l.job, l.attempt, w.name, pg_temp.us(l.expires_at), pg_temp.us(l.beat_at), pg_temp.us(l.suspect_expires)
  FROM lease l JOIN worker w ON w.no = l.worker ORDER BY l.job;
SELECT 'attempt', job, attempt, coalesce(outcome, 'open'), pg_temp.us(started_at), pg_temp.us(ended_at) FROM job_attempt ORDER BY job, attempt;
SELECT 'slot', scope, n, coalesce(job, 0), coalesce(attempt, 0) FROM limit_slot ORDER BY scope COLLATE "C", n;
SELECT 'pack', no, job, attempt, state, (sha256 IS NOT NULL)::int FROM pack ORDER BY no;
SELECT 'backup', job, attempt, source, sequence, outcome, (marker_at IS NOT NULL)::int, array_to_string(packs, ' ') FROM backup ORDER BY job;
SELECT 'schedule', source, name, at, catch_up::int, overlap_skip::int, coalesce(start_deadline_s, 0), pg_temp.us(last_slot)
  FROM schedule ORDER BY source;
SELECT 'window', source, open::int, cancels::int, pg_temp.us(since), pg_temp.us(until) FROM source_window ORDER BY source;
-- Texts name holders, workers and what was counted: how often they change is not agreed.
SELECT 'decision', job, verdict, code, CASE WHEN code IN ('no_worker', 'lane.busy', 'limit.full') THEN 0 ELSE count END
  FROM decision ORDER BY job, code COLLATE "C";
