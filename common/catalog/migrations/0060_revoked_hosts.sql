-- What a host stored before its keys were revoked may hold anything under a chunk's name. An attempt says which hosts the
-- store's keys have revoked, and then shares no pack that such a host made, not even in the source that was its own,
-- before a reader has seen it. Where the host's login was renewed since (the old one is retired), what its new one made
-- counts again.
ALTER TABLE session ADD COLUMN revoked text[] NOT NULL DEFAULT '{}';

CREATE FUNCTION session_revoked(p_job bigint, p_attempt bigint, p_claim uuid, p_hosts text[]) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  s session;
BEGIN
  PERFORM need_values(num_nulls(p_hosts), 'session_revoked');
  PERFORM fence_job(p_job, p_attempt, p_claim, true);
  s := fence_session(p_job, p_attempt);
  UPDATE session x SET revoked = p_hosts WHERE x.job = p_job AND x.attempt = p_attempt AND x.repository = s.repository;
END $$;

CREATE FUNCTION pack_revoked(p_pack pack, p_hosts text[]) RETURNS boolean LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT EXISTS (SELECT FROM job_attempt a JOIN worker w ON w.no = a.worker WHERE a.job = p_pack.job AND a.attempt = p_pack.attempt
    AND w.host = ANY (p_hosts) AND (w.retired_at IS NOT NULL OR NOT EXISTS (SELECT FROM worker o WHERE o.host = w.host AND o.retired_at IS NOT NULL))) $$;

CREATE OR REPLACE FUNCTION chunk_lookup(p_job bigint, p_attempt bigint, p_claim uuid, p_ids bytea[])
  RETURNS TABLE (n bigint, pack_no bigint, object uuid, pack uuid, ordinal int, codec smallint, start bigint, stored int, plain int)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = holdfast, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, false);
  s session := fence_session(p_job, p_attempt);
  domains int[] := job_domains(j);
  since timestamptz;
BEGIN
  SELECT coalesce(r.set_back_at, '-infinity') INTO since FROM repository r WHERE r.no = s.repository;
  RETURN QUERY SELECT DISTINCT ON (q.n) q.n, p.no, p.object, p.pack, c.ordinal, c.codec, c.start, c.stored, c.plain
    FROM unnest(p_ids) WITH ORDINALITY AS q(id, n)
    CROSS JOIN LATERAL (SELECT * FROM chunk x WHERE x.repository = s.repository AND x.id = q.id OFFSET 0) c
    CROSS JOIN LATERAL (SELECT * FROM pack y WHERE y.no = c.pack_no OFFSET 0) p
    WHERE p.damaged_at IS NULL AND p.sha256 IS NOT NULL
      AND ((p.state = 'staged' AND p.job = p_job AND p.attempt = p_attempt)
        OR (p.state = 'live' AND (p.verified_at > since OR (p.begun_at > since AND p.domain = ANY (domains)
          AND (s.revoked = '{}' OR NOT pack_revoked(p, s.revoked))))))
    ORDER BY q.n, p.state, p.no;
END $$;

REVOKE ALL ON FUNCTION session_revoked, pack_revoked FROM PUBLIC;
GRANT EXECUTE ON FUNCTION session_revoked TO holdfast_worker;
