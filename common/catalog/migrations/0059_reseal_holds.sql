-- After a reader key was stolen: what these backups' holds say in the store is written again, to the readers of now, by a
-- job for each as whoever holds or releases makes it. Answers how many jobs there are.
CREATE FUNCTION reseal_holds(p_job bigint, p_attempt bigint, p_claim uuid, p_backups uuid[]) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  s session := fence_repack(p_job, p_attempt, p_claim);
  none source;
  jobs bigint;
BEGIN
  PERFORM need_values(num_nulls(p_backups), 'reseal_holds');
  PERFORM job_new('retention', 'manual', none, NULL, NULL, '{"hold": true}', prune_pool(s.repository), 'reencrypt', NULL, 80, 'pending', NULL,
      s.repository, b.id)
    FROM backup b WHERE b.id = ANY (p_backups) AND b.repository = s.repository
      AND NOT EXISTS (SELECT FROM job j WHERE j.backup = b.id AND j.kind = 'retention' AND j.state IN ('pending', 'queued'));
  SELECT count(*) INTO jobs FROM backup b WHERE b.id = ANY (p_backups) AND b.repository = s.repository;
  RETURN jobs;
END $$;
REVOKE ALL ON FUNCTION reseal_holds FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reseal_holds TO holdfast_pruner;
