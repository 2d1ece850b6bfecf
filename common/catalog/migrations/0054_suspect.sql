-- A source under suspicion: nothing of it expires until somebody says that its backups are good. Who and why is in the
-- audit log; what a machine finds suspicious comes with a later version.
CREATE FUNCTION source_suspect(p_name text, p_reason text, p_actor text) RETURNS void LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
BEGIN
  PERFORM need_values(num_nulls(p_name, p_actor), 'source_suspect');
  IF coalesce(btrim(p_reason), '') = '' THEN
    RAISE EXCEPTION 'say what is suspicious: it is shown beside every backup that it keeps' USING ERRCODE = 'HF004', DETAIL = 'source.reason';
  END IF;
  UPDATE source SET suspicious_at = coalesce(suspicious_at, clock_timestamp()), suspicious_reason = left(p_reason, 400) WHERE name = p_name;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'no source is called %', p_name USING ERRCODE = 'HF002', DETAIL = 'source.unknown';
  END IF;
  INSERT INTO audit_event(actor, actor_kind, via, action, object, reason, result)
    VALUES (p_actor, 'user', 'api', 'source.suspect', p_name, p_reason, 'ok');
END $$;
REVOKE ALL ON FUNCTION source_suspect FROM PUBLIC;
GRANT EXECUTE ON FUNCTION source_suspect TO holdfast_scheduler;

-- What a repack would look into, for whoever asks what a run would do: live packs whose own backup is gone, and of those
-- that were looked at before, how many are half-dead and what would come free.
CREATE FUNCTION repack_look(p_job bigint, p_attempt bigint, p_claim uuid)
  RETURNS TABLE (candidates bigint, candidate_bytes bigint, half_dead bigint, frees bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
BEGIN
  RETURN QUERY SELECT count(*), coalesce(sum(x.bytes), 0)::bigint, count(*) FILTER (WHERE x.dead), coalesce(sum(x.bytes - x.needed_bytes) FILTER (WHERE x.dead), 0)::bigint
    FROM (SELECT p.bytes, p.needed_bytes, coalesce(p.bytes - p.needed_bytes > p.bytes * setting_of('repack_share'), false) AS dead FROM pack p
      WHERE p.repository = s.repository AND p.state = 'live' AND p.damaged_at IS NULL AND p.sha256 IS NOT NULL
        AND p.no IN (SELECT u.no FROM pack_used(s.repository) u)
        AND NOT EXISTS (SELECT FROM backup b WHERE b.job = p.job AND b.deleted_at IS NULL AND b.left_at IS NULL)
        AND NOT EXISTS (SELECT FROM backup_copy c WHERE c.repository = s.repository AND c.job = p.job AND c.deleted_at IS NULL)) x;
END $$;
REVOKE ALL ON FUNCTION repack_look FROM PUBLIC;
GRANT EXECUTE ON FUNCTION repack_look TO holdfast_pruner;
