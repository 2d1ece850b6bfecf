-- The fenced COMMIT, markers, and what readers may open.

CREATE FUNCTION backup_commit(p_job bigint, p_attempt bigint, p_claim uuid, p_id uuid, p_manifest_sha256 bytea, p_index_object uuid,
    p_index_sha256 bytea, p_sequence bigint, p_consistent timestamptz, p_position text, p_receipt jsonb, p_partial boolean,
    p_stored_verified boolean, p_entries bigint, p_bytes bigint, p_stored_bytes bigint, p_new_bytes bigint, p_packs bigint[],
    p_issues jsonb, p_issue_count bigint, p_item_kinds text[], p_item_names text[], p_item_entries bigint[], p_item_rows bigint[],
    p_item_bytes bigint[]) RETURNS TABLE (answer text, detail text)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  me worker := worker_me();
  j job;
  s session;
  domains int[];
  bad text;
  next_sequence bigint;
BEGIN
  PERFORM need_read_committed(); -- an older snapshot would defeat lock-then-test
  PERFORM need_values(num_nulls(p_job, p_attempt, p_claim, p_id, p_manifest_sha256, p_index_object, p_index_sha256, p_sequence,
    p_consistent, p_partial, p_stored_verified, p_packs), 'backup_commit');
  SELECT * INTO j FROM job WHERE id = p_job FOR UPDATE;
  IF EXISTS (SELECT FROM backup b JOIN job_attempt a ON a.job = b.job AND a.attempt = b.attempt
             WHERE b.id = p_id AND b.job = p_job AND b.attempt = p_attempt AND a.worker = me.no
               AND a.claim IS NOT DISTINCT FROM p_claim AND b.manifest_sha256 IS NOT DISTINCT FROM p_manifest_sha256) THEN
    RETURN QUERY SELECT 'already', ''; -- the answer to "the connection died at COMMIT"
    RETURN;
  END IF;
  IF j.id IS NULL OR j.state IS DISTINCT FROM 'running' OR j.attempt IS DISTINCT FROM p_attempt OR j.claim IS DISTINCT FROM p_claim
     OR NOT EXISTS (SELECT FROM lease l WHERE l.job = p_job AND l.attempt = p_attempt AND l.worker = me.no) THEN
    RETURN QUERY SELECT 'fenced', '';
    RETURN;
  END IF;
  IF j.kind IS DISTINCT FROM 'backup' THEN
    RAISE EXCEPTION 'a % job commits no backup', j.kind USING ERRCODE = 'HF004', DETAIL = 'job.kind';
  END IF;
  s := fence_session(p_job, p_attempt);
  domains := job_domains(j);
  PERFORM pg_advisory_xact_lock_shared(hashtextextended('holdfast.flip', s.repository)); -- many committers, one flip
  -- Only rows that will change are locked, in one order; a live pack that is condemned meanwhile is
  -- pardoned by the flip, which sees this commit.
  PERFORM FROM pack p WHERE p.no = ANY (p_packs) AND p.state <> 'live' ORDER BY p.no FOR NO KEY UPDATE;
  SELECT string_agg(x.no::text, ' ' ORDER BY x.no) FILTER (WHERE x.n <= 8) INTO bad
    FROM (SELECT u.no, row_number() OVER (ORDER BY u.no) AS n FROM unnest(p_packs) AS u(no)
          LEFT JOIN pack p ON p.no = u.no AND p.repository = s.repository
          WHERE p.no IS NULL OR p.damaged_at IS NOT NULL OR p.sha256 IS NULL OR p.state IN ('deleting', 'deleted')
             OR (p.state = 'staged' AND (p.job, p.attempt) IS DISTINCT FROM (p_job, p_attempt))
             OR (p.state IN ('live', 'condemned') AND p.verified_at IS NULL AND NOT p.domain = ANY (domains))) x;
  IF bad IS NOT NULL THEN
    RETURN QUERY SELECT 'damaged', left(bad, 240);
    RETURN;
  END IF;
  SELECT coalesce(max(b.sequence), 0) + 1 INTO next_sequence FROM backup b WHERE b.source = j.source AND b.repository = s.repository;
  IF p_sequence IS DISTINCT FROM next_sequence THEN
    RAISE EXCEPTION 'backup has sequence %, its source is at %', p_sequence, next_sequence - 1 USING ERRCODE = 'HF003', DETAIL = 'backup.sequence';
  END IF;
  UPDATE pack SET state = 'live', condemned_epoch = NULL WHERE no = ANY (p_packs) AND state IN ('staged', 'condemned');
  INSERT INTO backup(id, job, attempt, source, schedule, slot, policy, repository, key_set, sequence, parent, outcome, manifest_sha256,
      index_object, index_sha256, consistent_at, position, receipt, started_at, entries, bytes, stored_bytes, new_bytes, issues,
      issue_count, packs)
    SELECT p_id, p_job, p_attempt, j.source, j.schedule, j.slot, src.policy, r.no, r.key_set, p_sequence,
      (SELECT b.id FROM backup b WHERE b.source = j.source AND b.repository = s.repository ORDER BY b.sequence DESC LIMIT 1),
      CASE WHEN p_partial THEN 'partial' ELSE 'completed' END, p_manifest_sha256, p_index_object, p_index_sha256, p_consistent,
      coalesce(p_position, ''), coalesce(p_receipt, '{}'), a.started_at, p_entries, p_bytes, p_stored_bytes, p_new_bytes,
      coalesce(p_issues, '[]'), coalesce(p_issue_count, 0), array(SELECT DISTINCT u FROM unnest(p_packs) u ORDER BY u)
    FROM source src, repository r, job_attempt a
    WHERE src.no = j.source AND r.no = s.repository AND a.job = p_job AND a.attempt = p_attempt;
  INSERT INTO backup_item(backup, n, kind, name, entries, rows, bytes)
    SELECT p_id, x.n, x.kind, x.name, x.entries, x.rows, x.bytes
    FROM unnest(p_item_kinds, p_item_names, p_item_entries, p_item_rows, p_item_bytes)
         WITH ORDINALITY AS x(kind, name, entries, rows, bytes, n);
  IF p_stored_verified THEN
    INSERT INTO verification(backup, job, level, result, started_at, worker) VALUES (p_id, p_job, 'stored', 'ok', clock_timestamp(), me.no);
  END IF;
  PERFORM attempt_end(j, CASE WHEN p_partial THEN 'partial' ELSE 'completed' END, NULL, NULL, NULL);
  UPDATE job SET state = CASE WHEN p_partial THEN 'partial' ELSE 'completed' END, claim = NULL, repository = s.repository,
    finished_at = clock_timestamp() WHERE id = p_job;
  RETURN QUERY SELECT 'ok', '';
END $$;

-- Whoever committed it, or a later job that found it unmarked on the same repository.
CREATE FUNCTION marker_done(p_job bigint, p_attempt bigint, p_claim uuid, p_backup uuid) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  me worker := worker_me();
  j job;
  s session;
BEGIN
  PERFORM need_values(num_nulls(p_job, p_attempt, p_claim, p_backup), 'marker_done');
  UPDATE backup b SET marker_at = coalesce(marker_at, clock_timestamp()) FROM job_attempt a
    WHERE b.id = p_backup AND b.job = p_job AND b.attempt = p_attempt AND a.job = p_job AND a.attempt = p_attempt
      AND a.claim IS NOT DISTINCT FROM p_claim AND a.worker = me.no;
  IF FOUND THEN
    RETURN;
  END IF;
  j := fence_job(p_job, p_attempt, p_claim, true);
  s := fence_session(p_job, p_attempt);
  UPDATE backup SET marker_at = coalesce(marker_at, clock_timestamp()) WHERE id = p_backup AND repository = s.repository;
END $$;

CREATE FUNCTION markers_due(p_job bigint, p_attempt bigint, p_claim uuid)
  RETURNS TABLE (backup uuid, manifest_sha256 bytea, index_object uuid, index_sha256 bytea, job bigint, attempt bigint,
                 sequence bigint, committed_at timestamptz, source text)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, false);
  s session := fence_session(p_job, p_attempt);
BEGIN
  RETURN QUERY SELECT b.id, b.manifest_sha256, b.index_object, b.index_sha256, b.job, b.attempt, b.sequence, b.committed_at, src.name
    FROM backup b JOIN source src ON src.no = b.source
    WHERE b.repository = s.repository AND b.marker_at IS NULL AND b.deleted_at IS NULL ORDER BY b.committed_at LIMIT 1000;
END $$;

CREATE FUNCTION backup_open(p_job bigint, p_attempt bigint, p_claim uuid, p_backup uuid)
  RETURNS TABLE (repository uuid, repository_no int, manifest_sha256 bytea, index_object uuid, index_sha256 bytea, sequence bigint,
                 entries bigint, bytes bigint, consistent_at timestamptz, source text, source_type text)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, false);
BEGIN
  IF j.backup IS DISTINCT FROM p_backup OR p_backup IS NULL THEN
    RAISE EXCEPTION 'job % is not about backup %', p_job, p_backup USING ERRCODE = 'HF005', DETAIL = 'job.other_backup';
  END IF;
  IF EXISTS (SELECT FROM backup b WHERE b.id = p_backup AND b.deleted_at IS NOT NULL) THEN
    RAISE EXCEPTION 'backup % was deleted', p_backup USING ERRCODE = 'HF002', DETAIL = 'backup.deleted';
  END IF;
  RETURN QUERY SELECT r.id, r.no, b.manifest_sha256, b.index_object, b.index_sha256, b.sequence, b.entries, b.bytes, b.consistent_at,
      src.name, src.type
    FROM backup b JOIN repository r ON r.no = b.repository JOIN source src ON src.no = b.source WHERE b.id = p_backup;
END $$;

CREATE FUNCTION verification_add(p_job bigint, p_attempt bigint, p_claim uuid, p_backup uuid, p_level text, p_result text,
    p_started timestamptz, p_checks jsonb) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  me worker := worker_me();
  j job := fence_job(p_job, p_attempt, p_claim, true);
BEGIN
  PERFORM need_values(num_nulls(p_backup, p_level, p_result, p_started), 'verification_add');
  IF j.backup IS DISTINCT FROM p_backup OR j.kind NOT IN ('verify', 'restore') THEN
    RAISE EXCEPTION 'job % proves nothing about backup %', p_job, p_backup USING ERRCODE = 'HF005', DETAIL = 'job.other_backup';
  END IF;
  INSERT INTO verification(backup, job, level, result, started_at, worker, checks)
    VALUES (p_backup, p_job, p_level, p_result, p_started, me.no, coalesce(p_checks, '{}'));
END $$;
