-- Packs that no backup will ever use, and readers that miss an object.

-- An attempt that was killed between pack_begin and pack_stage leaves a row without a hash; one that
-- took over a pack which its source no longer needs, or whose object was damaged, leaves it staged too.
-- While the job may still be tried again the next attempt may adopt them; when it is over nobody can.
-- No clock is asked for jobs that ended well; a failed one keeps its packs for a day, because
-- `job retry` goes on where it stopped. The job's row is locked first and looked at again then, so that
-- no retry begins meanwhile. A dying pack is never found, adopted or committed; its object is the
-- collector's.
CREATE FUNCTION sweep_staged() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  over bigint[];
  swept bigint;
BEGIN
  PERFORM need_read_committed();
  SELECT array_agg(x.id) INTO over FROM (
    SELECT j.id FROM job j
      WHERE j.id IN (SELECT DISTINCT p.job FROM pack p WHERE p.state = 'staged' LIMIT 10000)
        AND (j.state IN ('completed', 'partial', 'cancelled', 'skipped', 'missed')
          OR (j.state = 'failed' AND j.finished_at < clock_timestamp() - interval '24 hours'))
      ORDER BY j.id FOR SHARE OF j SKIP LOCKED) x;
  UPDATE pack SET state = 'deleting' WHERE state = 'staged' AND job = ANY (over);
  GET DIAGNOSTICS swept = ROW_COUNT;
  RETURN swept;
END $$;
REVOKE ALL ON FUNCTION sweep_staged() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sweep_staged() TO holdfast_scheduler;

-- Where else is this chunk? For a reader that did not find the object it was sent to: any other pack,
-- the newest first.
CREATE FUNCTION chunk_find_other(p_job bigint, p_attempt bigint, p_claim uuid, p_ids bytea[], p_not uuid)
  RETURNS TABLE (n bigint, pack_no bigint, object uuid, pack uuid, ordinal int, codec smallint, start bigint, stored int, plain int)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = holdfast, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, false);
  s session := fence_session(p_job, p_attempt);
BEGIN
  PERFORM need_values(num_nulls(p_ids, p_not), 'chunk_find_other');
  IF j.kind NOT IN ('restore', 'verify', 'probe') THEN
    RAISE EXCEPTION 'a % job looks up, it does not find', j.kind USING ERRCODE = 'HF005', DETAIL = 'job.not_a_reader';
  END IF;
  RETURN QUERY SELECT DISTINCT ON (q.n) q.n, p.no, p.object, p.pack, c.ordinal, c.codec, c.start, c.stored, c.plain
    FROM unnest(p_ids) WITH ORDINALITY AS q(id, n)
    CROSS JOIN LATERAL (SELECT * FROM chunk x WHERE x.repository = s.repository AND x.id = q.id OFFSET 0) c
    CROSS JOIN LATERAL (SELECT * FROM pack y WHERE y.no = c.pack_no OFFSET 0) p
    WHERE p.damaged_at IS NULL AND p.state IN ('live', 'condemned') AND p.object <> p_not
    ORDER BY q.n, p.no DESC;
END $$;
REVOKE ALL ON FUNCTION chunk_find_other(bigint, bigint, uuid, bytea[], uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chunk_find_other(bigint, bigint, uuid, bytea[], uuid) TO holdfast_worker;
