-- What checks found is written into the store too (audit/, signed by the prune role), so that it comes back when the
-- catalogue is lost: verifications, and which packs were seen whole or damaged. A prune job tells what was not told yet.
ALTER TABLE verification ADD COLUMN told_at timestamptz;               -- the store says so, or need not
ALTER TABLE pack ADD COLUMN told_at timestamptz;                       -- the newest of its three times that the store says
ALTER TABLE repository ADD COLUMN audit_object uuid, ADD COLUMN audit_sha256 bytea CHECK (octet_length(audit_sha256) = 32); -- the last one written

-- What a backup's own job, a copy or a rebuild found is said by markers and by what is there.
CREATE OR REPLACE FUNCTION verification_where() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  made text;
  at int;
BEGIN
  SELECT j.kind, j.repository INTO made, at FROM job j WHERE j.id = NEW.job;
  NEW.repository := coalesce(NEW.repository, at, (SELECT b.repository FROM backup b WHERE b.id = NEW.backup));
  IF made IN ('backup', 'copy', 'rebuild') THEN
    NEW.told_at := coalesce(NEW.told_at, clock_timestamp());
  END IF;
  RETURN NEW;
END $$;
UPDATE verification v SET told_at = v.finished_at FROM job j WHERE j.id = v.job AND j.kind IN ('backup', 'copy', 'rebuild');

CREATE INDEX verification_untold ON verification(repository, id) WHERE told_at IS NULL;
CREATE INDEX pack_untold ON pack(repository, no) WHERE state IN ('live', 'condemned')
  AND greatest(verified_at, checked_at, damaged_at) IS NOT NULL AND told_at IS DISTINCT FROM greatest(verified_at, checked_at, damaged_at);

-- The object that was written last.
CREATE FUNCTION proofs_last(p_job bigint, p_attempt bigint, p_claim uuid) RETURNS TABLE (object uuid, sha256 bytea)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
BEGIN
  RETURN QUERY SELECT r.audit_object, r.audit_sha256 FROM repository r WHERE r.no = s.repository;
END $$;

-- Verifications that the store does not say yet, the oldest first; checks without the list of what is damaged, which
-- the packs say.
CREATE FUNCTION proofs_checks(p_job bigint, p_attempt bigint, p_claim uuid, p_most int)
  RETURNS TABLE (id bigint, backup uuid, level text, result text, started_at timestamptz, finished_at timestamptz, worker text, host text, checks text)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
BEGIN
  PERFORM need_values(num_nulls(p_most), 'proofs_checks');
  RETURN QUERY SELECT v.id, v.backup, v.level, v.result, v.started_at, v.finished_at, coalesce(w.name, ''), coalesce(w.host, ''),
      CASE WHEN length((v.checks - 'damage')::text) <= 4000 THEN (v.checks - 'damage')::text ELSE '{}' END
    FROM verification v LEFT JOIN worker w ON w.no = v.worker
    WHERE v.repository = s.repository AND v.told_at IS NULL ORDER BY v.id LIMIT p_most;
END $$;

-- Packs of which something newer is known than the store says.
CREATE FUNCTION proofs_packs(p_job bigint, p_attempt bigint, p_claim uuid, p_most int)
  RETURNS TABLE (no bigint, object uuid, sha256 bytea, verified_at timestamptz, checked_at timestamptz, damaged_at timestamptz, damage text)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
BEGIN
  PERFORM need_values(num_nulls(p_most), 'proofs_packs');
  RETURN QUERY SELECT p.no, p.object, p.sha256, p.verified_at, p.checked_at, p.damaged_at, coalesce(p.damage, '') FROM pack p
    WHERE p.repository = s.repository AND p.state IN ('live', 'condemned') AND greatest(p.verified_at, p.checked_at, p.damaged_at) IS NOT NULL
      AND p.told_at IS DISTINCT FROM greatest(p.verified_at, p.checked_at, p.damaged_at)
    ORDER BY p.no LIMIT p_most;
END $$;

-- It is in the store, in this object. What changed meanwhile is told again.
CREATE FUNCTION proofs_told(p_job bigint, p_attempt bigint, p_claim uuid, p_object uuid, p_sha256 bytea, p_checks bigint[], p_packs bigint[],
    p_said timestamptz[]) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
BEGIN
  PERFORM need_values(num_nulls(p_object, p_sha256, p_checks, p_packs, p_said), 'proofs_told');
  UPDATE verification v SET told_at = clock_timestamp() WHERE v.id = ANY (p_checks) AND v.repository = s.repository;
  PERFORM FROM pack p WHERE p.no = ANY (p_packs) AND p.repository = s.repository ORDER BY p.no FOR NO KEY UPDATE;
  UPDATE pack p SET told_at = x.said FROM unnest(p_packs, p_said) AS x(no, said) WHERE p.no = x.no AND p.repository = s.repository;
  UPDATE repository r SET audit_object = p_object, audit_sha256 = p_sha256 WHERE r.no = s.repository;
END $$;

-- --- told again ---------------------------------------------------------------------------------------

-- Who checked: a worker of that name and host, or one that is not known here any more.
CREATE FUNCTION rebuild_checker(p_name text, p_host text) RETURNS int LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  number int;
BEGIN
  IF p_name !~ '^[a-z0-9][a-z0-9_-]{0,47}$' OR p_host !~ '^[A-Za-z0-9._-]{1,200}$' THEN
    RETURN NULL;
  END IF;
  SELECT no INTO number FROM worker WHERE name = p_name AND host = p_host ORDER BY retired_at IS NOT NULL, no LIMIT 1;
  IF number IS NULL THEN
    INSERT INTO worker(role_name, name, host, pools, retired_at) VALUES ('imported', p_name, p_host, '{}', clock_timestamp())
      RETURNING no INTO number;
  END IF;
  RETURN number;
END $$;

-- One object of audit/: verifications of backups that are here, each once. Answers how many were news.
CREATE FUNCTION rebuild_checks(p_job bigint, p_attempt bigint, p_claim uuid, p_repository int, p_object uuid, p_backups uuid[], p_levels text[],
    p_results text[], p_started timestamptz[], p_finished timestamptz[], p_workers text[], p_hosts text[], p_checks text[])
  RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  repo int := rebuild_fence(p_job, p_attempt, p_claim, p_repository);
  names text[];
  hosts text[];
  nos int[];
  news bigint;
BEGIN
  PERFORM need_values(num_nulls(p_object, p_backups, p_levels, p_results, p_started, p_finished, p_workers, p_hosts, p_checks), 'rebuild_checks');
  PERFORM pg_advisory_xact_lock(hashtextextended('holdfast.rebuild', repo));
  SELECT array_agg(x.name), array_agg(x.host), array_agg(rebuild_checker(x.name, x.host)) INTO names, hosts, nos
    FROM (SELECT DISTINCT u.name, u.host FROM unnest(p_workers, p_hosts) AS u(name, host) ORDER BY u.name, u.host) x;
  INSERT INTO verification(backup, repository, job, level, result, started_at, finished_at, worker, checks, told_at)
    SELECT x.backup, repo, CASE WHEN p_job = 0 THEN b.job ELSE p_job END, x.level, x.result, x.started, x.finished, w.no,
      x.checks::jsonb || jsonb_build_object('told', p_object), clock_timestamp()
    FROM unnest(p_backups, p_levels, p_results, p_started, p_finished, p_workers, p_hosts, p_checks) WITH ORDINALITY
        AS x(backup, level, result, started, finished, worker, host, checks, n)
      JOIN backup b ON b.id = x.backup JOIN backup_place p ON p.backup = b.id AND p.repository = repo
      LEFT JOIN unnest(names, hosts, nos) AS w(name, host, no) ON w.name = x.worker AND w.host = x.host
    WHERE x.level IN ('stored', 'content', 'restore', 'query') AND x.result IN ('ok', 'failed', 'inconclusive')
      AND NOT EXISTS (SELECT FROM verification v WHERE v.backup = x.backup AND v.repository = repo AND v.level = x.level
        AND v.result = x.result AND v.finished_at = x.finished)
    ORDER BY x.n;
  GET DIAGNOSTICS news = ROW_COUNT;
  RETURN news;
END $$;

-- … and what it says of packs, where that is newer than what is known here and was said of the same bytes.
CREATE FUNCTION rebuild_proven(p_job bigint, p_attempt bigint, p_claim uuid, p_repository int, p_object uuid, p_sha256 bytea, p_objects uuid[],
    p_sha256s bytea[], p_verified timestamptz[], p_checked timestamptz[], p_damaged timestamptz[], p_damages text[])
  RETURNS TABLE (proven bigint, damaged bigint) LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  repo int := rebuild_fence(p_job, p_attempt, p_claim, p_repository);
BEGIN
  PERFORM need_values(num_nulls(p_object, p_sha256, p_objects, p_sha256s, p_verified, p_checked, p_damaged, p_damages), 'rebuild_proven');
  PERFORM FROM pack p WHERE p.repository = repo AND p.object = ANY (p_objects) ORDER BY p.no FOR NO KEY UPDATE;
  RETURN QUERY WITH moved AS (
      UPDATE pack p SET verified_at = CASE WHEN x.damaged IS NULL THEN x.verified END, checked_at = x.checked, damaged_at = x.damaged,
          damage = CASE WHEN x.damaged IS NOT NULL THEN left(x.damage, 1000) END, told_at = greatest(x.verified, x.checked, x.damaged)
        FROM unnest(p_objects, p_sha256s, p_verified, p_checked, p_damaged, p_damages) AS x(object, sha256, verified, checked, damaged, damage)
        WHERE p.repository = repo AND p.object = x.object AND p.sha256 = x.sha256 AND p.state IN ('live', 'condemned')
          AND greatest(x.verified, x.checked, x.damaged) > coalesce(greatest(p.verified_at, p.checked_at, p.damaged_at), '-infinity')
        RETURNING p.verified_at, p.damaged_at)
    SELECT count(*) FILTER (WHERE m.verified_at IS NOT NULL), count(*) FILTER (WHERE m.damaged_at IS NOT NULL) FROM moved m;
  UPDATE repository r SET audit_object = p_object, audit_sha256 = p_sha256 WHERE r.no = repo AND coalesce(r.audit_object < p_object, true);
END $$;

REVOKE ALL ON FUNCTION proofs_last, proofs_checks, proofs_packs, proofs_told, rebuild_checker, rebuild_checks, rebuild_proven FROM PUBLIC;
GRANT EXECUTE ON FUNCTION proofs_last, proofs_checks, proofs_packs, proofs_told TO holdfast_pruner;
GRANT EXECUTE ON FUNCTION rebuild_checks, rebuild_proven TO holdfast_reader;
