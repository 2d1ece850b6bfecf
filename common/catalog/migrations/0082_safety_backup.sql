-- A restore in place waits for a backup of what is there now. Whoever asks for one with `safety` gets two jobs: the backup, and the restore
-- that is due when that has ended. The restore's params name both; a worker refuses to begin one that waits for a backup and has none.

CREATE FUNCTION restore_waits() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  safety bigint;
BEGIN
  SELECT m.job INTO safety FROM job_create('backup', 'manual', (SELECT s.name FROM source s WHERE s.no = NEW.source), NULL,
    jsonb_build_object('safety_of', NEW.id), NEW.actor, NULL, 60, NULL) m;
  UPDATE job SET run_at = 'infinity', params = params || jsonb_build_object('safety', jsonb_build_object('job', job_text(safety))) WHERE id = NEW.id;
  PERFORM decide(NEW, 'deferred', 'restore.safety_backup', format('waits for %s, a backup of what is there now', job_text(safety)));
  RETURN NULL;
END $$;
CREATE TRIGGER restore_waits AFTER INSERT ON job FOR EACH ROW
  WHEN (NEW.kind = 'restore' AND NEW.finished_at IS NULL AND NEW.params -> 'safety' = 'true') EXECUTE FUNCTION restore_waits();

-- However the backup ended, the restore is due: only with a whole one does its worker begin.
CREATE FUNCTION restore_released() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  made uuid;
BEGIN
  IF NEW.state = 'completed' THEN
    SELECT b.id INTO made FROM backup b WHERE b.job = NEW.id;
  END IF;
  UPDATE job SET run_at = clock_timestamp(), params = jsonb_set(params, '{safety}', jsonb_strip_nulls(jsonb_build_object('job', job_text(NEW.id),
      'backup', backup_text(made), 'state', NEW.state, 'why', left(NEW.error, 200))))
    WHERE id = (NEW.params ->> 'safety_of')::bigint AND kind = 'restore' AND state = 'pending' AND params #>> '{safety,job}' = job_text(NEW.id);
  RETURN NULL;
END $$;
CREATE TRIGGER restore_released AFTER UPDATE OF state ON job FOR EACH ROW
  WHEN (NEW.kind = 'backup' AND NEW.finished_at IS NOT NULL AND OLD.finished_at IS NULL AND NEW.params ? 'safety_of') EXECUTE FUNCTION restore_released();

REVOKE ALL ON FUNCTION restore_waits, restore_released FROM PUBLIC;
