-- A physical backup is proved with the log that goes on from it: the order of a proof names the batches to the end of its window,
-- or says why there are none, where the source keeps a log.
CREATE FUNCTION log_proof(j job) RETURNS jsonb LANGUAGE plpgsql STABLE SET search_path = holdfast, pg_temp AS $$
DECLARE
  asked job := j;
  b backup;
BEGIN
  SELECT * INTO b FROM backup WHERE id = j.backup;
  IF NOT EXISTS (SELECT FROM source s JOIN source l ON l.spec ->> 'log_of' = s.name WHERE s.no = b.source AND l.retired_at IS NULL)
     OR NOT EXISTS (SELECT FROM log_needs(b)) THEN
    RETURN NULL;
  END IF;
  asked.params := jsonb_build_object('recover', '{}'::jsonb);
  RETURN log_plan(asked);
END $$;

CREATE OR REPLACE FUNCTION job_order(j job) RETURNS jsonb LANGUAGE plpgsql STABLE SET search_path = holdfast, pg_temp AS $$
DECLARE
  whole jsonb := job_order_any(j);
  log jsonb;
BEGIN
  IF j.kind IN ('restore', 'probe') AND j.backup IS NOT NULL AND jsonb_typeof(j.params -> 'recover') = 'object' THEN
    RETURN whole || jsonb_build_object('log', log_plan(j));
  ELSIF j.kind = 'verify' AND j.backup IS NOT NULL AND proves(j.params) THEN
    RETURN whole || jsonb_strip_nulls(jsonb_build_object('log', log_proof(j)));
  ELSIF j.kind = 'backup' AND whole #>> '{source,config,method}' = 'wal' THEN
    log := log_from(j.source);
    IF log IS NOT NULL THEN
      RETURN jsonb_set(whole, '{params,log}', log);
    END IF;
  END IF;
  RETURN whole;
END $$;

REVOKE ALL ON FUNCTION log_proof FROM PUBLIC;
GRANT EXECUTE ON FUNCTION log_proof TO holdfast_scheduler;
