-- Jobs that cannot go (no worker, a busy source, a full limit) keep nobody behind them from going: the
-- whole of the pool is looked at, and only what is picked is locked. Reasons are told for the first ones.
CREATE OR REPLACE FUNCTION dispatch_pick(p_pool int, p_most int) RETURNS TABLE (job bigint, dispatch bigint, kind text, urgent boolean)
  LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  j job;
  picked int := 0;
  told int := 0;
  aging double precision := greatest(setting_of('aging_s'), 1);
  held text;
  busy bigint;
  full_scope text;
  asked jsonb := '{}'; -- answers of job_nobody, one per kind of need
  need text;
  sent int[] := '{}';  -- sources whose data lane got a ticket just now
BEGIN
  PERFORM need_values(num_nulls(p_pool, p_most), 'dispatch_pick');
  IF (SELECT paused FROM pool WHERE no = p_pool) THEN
    RETURN;
  END IF;
  FOR j IN SELECT * FROM job x WHERE x.pool = p_pool AND x.state = 'pending' AND x.run_at <= clock_timestamp()
             AND (x.start_by IS NULL OR x.start_by > clock_timestamp())
           ORDER BY x.priority + extract(epoch FROM clock_timestamp() - x.run_at) / aging DESC, x.run_at, x.id LOOP
    EXIT WHEN picked >= p_most;
    IF j.lanes <> 0 THEN
      IF j.source = ANY (sent) THEN
        CONTINUE; -- the one before it goes first
      END IF;
      SELECT o.id INTO busy FROM job o WHERE o.source = j.source AND o.state IN ('running', 'queued') AND o.lanes & j.lanes <> 0 LIMIT 1;
      IF busy IS NOT NULL THEN
        IF told < 200 THEN
          PERFORM decide_seldom(j, 'deferred', 'lane.busy', format('job %s has the source', busy));
          told := told + 1;
        END IF;
        CONTINUE;
      END IF;
    END IF;
    SELECT min(s) INTO full_scope FROM unnest(job_scopes(j)) s
      WHERE NOT EXISTS (SELECT FROM limit_slot l WHERE l.scope = s AND l.job IS NULL);
    IF full_scope IS NOT NULL THEN
      IF told < 200 THEN
        PERFORM decide_seldom(j, 'deferred', 'limit.full', format('limit %s is reached', full_scope));
        told := told + 1;
      END IF;
      CONTINUE;
    END IF;
    need := concat_ws('|', j.kind, j.source, j.repository, j.params ->> 'probe', j.params ->> 'level', md5(j.params::text));
    IF NOT asked ? need THEN
      asked := asked || jsonb_build_object(need, job_nobody(j));
    END IF;
    held := asked ->> need;
    IF held IS NOT NULL THEN
      IF told < 200 THEN
        PERFORM decide_seldom(j, 'held', 'no_worker', held);
        told := told + 1;
      END IF;
      CONTINUE;
    END IF;
    UPDATE job SET state = 'queued', queued_at = clock_timestamp() WHERE id = (
      SELECT x.id FROM job x WHERE x.id = j.id AND x.state = 'pending' AND x.dispatch = j.dispatch AND x.run_at <= clock_timestamp()
      FOR UPDATE SKIP LOCKED);
    CONTINUE WHEN NOT FOUND; -- another scheduler has it, or it changed meanwhile
    picked := picked + 1;
    IF j.lanes <> 0 THEN
      sent := sent || j.source;
    END IF;
    RETURN QUERY SELECT j.id, j.dispatch, j.kind, j.priority >= 50;
  END LOOP;
END $$;
