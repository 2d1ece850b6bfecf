-- Comparing two backups of one source: the probe about one may open the other, which its parameters name.

CREATE OR REPLACE FUNCTION backup_open(p_job bigint, p_attempt bigint, p_claim uuid, p_backup uuid)
  RETURNS TABLE (repository uuid, repository_no int, manifest_sha256 bytea, index_object uuid, index_sha256 bytea, sequence bigint,
                 entries bigint, bytes bigint, consistent_at timestamptz, source text, source_type text)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, false);
BEGIN
  IF p_backup IS NULL OR (j.backup IS DISTINCT FROM p_backup
     AND NOT (j.kind = 'probe' AND lower(j.params ->> 'against') = p_backup::text
              AND EXISTS (SELECT FROM backup a JOIN backup b USING (source) WHERE a.id = p_backup AND b.id = j.backup))) THEN
    RAISE EXCEPTION 'job % is not about backup %', p_job, p_backup USING ERRCODE = 'HF005', DETAIL = 'job.other_backup';
  END IF;
  IF NOT EXISTS (SELECT FROM backup_place p WHERE p.backup = p_backup AND p.repository = j.repository AND p.deleted_at IS NULL)
     AND EXISTS (SELECT FROM backup b WHERE b.id = p_backup) THEN
    IF EXISTS (SELECT FROM backup_place p WHERE p.backup = p_backup AND p.deleted_at IS NULL) THEN
      RAISE EXCEPTION 'backup % is not in the store that is read, but in another one', p_backup
        USING ERRCODE = 'HF002', DETAIL = 'backup.elsewhere';
    END IF;
    RAISE EXCEPTION 'backup % was deleted', p_backup USING ERRCODE = 'HF002', DETAIL = 'backup.deleted';
  END IF;
  RETURN QUERY SELECT r.id, r.no, b.manifest_sha256, p.index_object, b.index_sha256, b.sequence, b.entries, b.bytes, b.consistent_at,
      src.name, src.type
    FROM backup b JOIN backup_place p ON p.backup = b.id AND p.repository = j.repository JOIN repository r ON r.no = p.repository
      JOIN source src ON src.no = b.source WHERE b.id = p_backup;
END $$;
