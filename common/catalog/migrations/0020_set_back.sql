-- A repository or a catalogue that was put back to an earlier day is noticed when a session opens, once
-- for each time it happens, and remembered as the instant from which packs may be trusted again: what was
-- begun before is shared only after a reader has seen it since. So backups go on, the first of each
-- source stores everything again, and the next ones share as ever. rolled_back stays until a merge.
ALTER TABLE repository ADD COLUMN set_back_at timestamptz;
ALTER TABLE repository ADD COLUMN set_back_epoch bigint;               -- the store's, when the epochs did not agree
CREATE INDEX backup_marked ON backup(repository, committed_at) WHERE marker_at IS NOT NULL AND deleted_at IS NULL;

-- When a backup was named: its id begins with milliseconds.
CREATE FUNCTION backup_named_at(p_id uuid) RETURNS timestamptz LANGUAGE sql IMMUTABLE SET search_path = holdfast, pg_temp AS $$
  SELECT to_timestamp(('x' || lpad(left(replace(p_id::text, '-', ''), 12), 16, '0'))::bit(64)::bigint / 1000.0) $$;

-- What a session must find in the store (its newest marked backup), and the first of these markers in the
-- store that no backup of the catalogue belongs to. What an earlier session told already is not asked.
CREATE FUNCTION repository_look(p_job bigint, p_attempt bigint, p_claim uuid, p_markers uuid[])
  RETURNS TABLE (newest uuid, manifest_sha256 bytea, stranger uuid)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, false);
  s session := fence_session(p_job, p_attempt);
  since timestamptz;
BEGIN
  PERFORM need_values(num_nulls(p_markers), 'repository_look');
  SELECT coalesce(r.set_back_at, '-infinity') INTO since FROM repository r WHERE r.no = s.repository;
  RETURN QUERY SELECT b.id, b.manifest_sha256, m.id
    FROM (SELECT 1) one
    LEFT JOIN LATERAL (SELECT x.id, x.manifest_sha256 FROM backup x
      WHERE x.repository = s.repository AND x.marker_at IS NOT NULL AND x.deleted_at IS NULL AND x.committed_at > since
      ORDER BY x.committed_at DESC LIMIT 1) b ON true
    LEFT JOIN LATERAL (SELECT u.id FROM unnest(p_markers) AS u(id)
      WHERE backup_named_at(u.id) > since AND NOT EXISTS (SELECT FROM backup x WHERE x.id = u.id AND x.repository = s.repository)
        AND NOT EXISTS (SELECT FROM backup_copy x WHERE x.backup = u.id AND x.repository = s.repository)
      ORDER BY u.id LIMIT 1) m ON true;
END $$;
GRANT EXECUTE ON FUNCTION repository_look TO holdfast_worker;

-- p_lost: the backup that is not in the store; p_epoch: the store's epoch that does not fit. Of one and the
-- same loss only the first word counts; it tells whether this was one.
DROP FUNCTION repository_set_back(bigint, bigint, uuid, text);
CREATE FUNCTION repository_set_back(p_job bigint, p_attempt bigint, p_claim uuid, p_why text, p_lost uuid, p_epoch bigint)
  RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, true);
  s session := fence_session(p_job, p_attempt);
BEGIN
  PERFORM need_values(num_nulls(p_why), 'repository_set_back');
  UPDATE repository r SET rolled_back = true, set_back_at = clock_timestamp(), set_back_epoch = coalesce(p_epoch, set_back_epoch)
    WHERE r.no = s.repository AND (r.set_back_at IS NULL
      OR (p_lost IS NULL AND p_epoch IS NULL)
      OR p_epoch IS DISTINCT FROM r.set_back_epoch AND p_epoch IS NOT NULL
      OR EXISTS (SELECT FROM backup b WHERE b.id = p_lost AND b.committed_at > r.set_back_at));
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  INSERT INTO event(kind, source, job, data) VALUES ('alert', j.source, j.id,
    jsonb_build_object('code', 'repo.rolled_back', 'repository', s.repository, 'text', left(p_why, 400)));
  INSERT INTO audit_event(actor, actor_kind, via, action, object, reason, result)
    SELECT w.name, 'worker', 'worker', 'repository.set_back', r.store || '/' || r.key_set, left(p_why, 400), 'ok'
    FROM repository r, worker_me() w WHERE r.no = s.repository;
  RETURN true;
END $$;
GRANT EXECUTE ON FUNCTION repository_set_back TO holdfast_worker;

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
        OR (p.state = 'live' AND (p.verified_at > since OR (p.begun_at > since AND p.domain = ANY (domains)))))
    ORDER BY q.n, p.state, p.no;
END $$;
