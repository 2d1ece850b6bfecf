-- A store that is set back while a session runs, and noticed by another, has lost packs that the session
-- looked up before. Its commit is answered as damage, so that the next attempt looks again.
ALTER FUNCTION backup_commit(bigint, bigint, uuid, uuid, bytea, uuid, bytea, bigint, timestamptz, text, jsonb, boolean, boolean, bigint,
    bigint, bigint, bigint, bigint[], jsonb, bigint, text[], text[], bigint[], bigint[], bigint[])
  RENAME TO backup_commit_whole;
REVOKE EXECUTE ON FUNCTION backup_commit_whole FROM holdfast_worker;

CREATE FUNCTION backup_commit(p_job bigint, p_attempt bigint, p_claim uuid, p_id uuid, p_manifest_sha256 bytea, p_index_object uuid,
    p_index_sha256 bytea, p_sequence bigint, p_consistent timestamptz, p_position text, p_receipt jsonb, p_partial boolean,
    p_stored_verified boolean, p_entries bigint, p_bytes bigint, p_stored_bytes bigint, p_new_bytes bigint, p_packs bigint[],
    p_issues jsonb, p_issue_count bigint, p_item_kinds text[], p_item_names text[], p_item_entries bigint[], p_item_rows bigint[],
    p_item_bytes bigint[]) RETURNS TABLE (answer text, detail text)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  back timestamptz;
  bad text;
BEGIN
  -- Whoever notices a loss waits for this commit, or this one sees what was noticed.
  SELECT r.set_back_at INTO back FROM session s JOIN repository r ON r.no = s.repository
    WHERE s.job = p_job AND s.attempt = p_attempt AND s.state = 'open' FOR SHARE OF r;
  IF back IS NOT NULL THEN
    SELECT string_agg(x.no::text, ' ' ORDER BY x.no) INTO bad FROM (SELECT p.no FROM pack p
      WHERE p.no = ANY (p_packs) AND p.state <> 'staged' AND p.begun_at <= back AND (p.verified_at IS NULL OR p.verified_at <= back)
      ORDER BY p.no LIMIT 8) x;
  END IF;
  IF bad IS NOT NULL THEN
    PERFORM fence_job(p_job, p_attempt, p_claim, false);
    RETURN QUERY SELECT 'damaged', bad;
    RETURN;
  END IF;
  RETURN QUERY SELECT w.answer, w.detail FROM backup_commit_whole(p_job, p_attempt, p_claim, p_id, p_manifest_sha256, p_index_object, p_index_sha256, p_sequence, p_consistent,
    p_position, p_receipt, p_partial, p_stored_verified, p_entries, p_bytes, p_stored_bytes, p_new_bytes, p_packs,
    p_issues, p_issue_count, p_item_kinds, p_item_names, p_item_entries, p_item_rows, p_item_bytes) w;
END $$;
GRANT EXECUTE ON FUNCTION backup_commit TO holdfast_worker;
