-- Each copy has its own retention: what is good, what expires, what is forgotten and what is collected is asked of a
-- backup in one repository. A backup is deleted (deleted_at) when its last place is given up; left_at says that the
-- place where it was made was, while copies stay.
ALTER TABLE backup ADD COLUMN left_at timestamptz;
CREATE INDEX backup_copy_of_job ON backup_copy(job);
CREATE INDEX backup_leaving ON backup(repository) WHERE left_at IS NOT NULL AND gone_at IS NULL;
CREATE INDEX backup_copy_going ON backup_copy(repository) WHERE deleted_at IS NOT NULL AND gone_at IS NULL;
CREATE INDEX backup_copy_index_going ON backup_copy(repository) WHERE gone_at IS NOT NULL AND index_gone_at IS NULL;

CREATE OR REPLACE VIEW backup_place AS
  SELECT b.id AS backup, b.source, b.repository, true AS made_here, b.packs, b.index_object, b.stored_bytes, b.committed_at, b.marker_at,
    b.expires_at, coalesce(b.left_at, b.deleted_at) AS deleted_at, b.deleted_reason, b.gone_at FROM backup b
  UNION ALL
  SELECT c.backup, b.source, c.repository, false, c.packs, c.index_object, c.stored_bytes, c.committed_at, c.marker_at,
    c.expires_at, c.deleted_at, c.deleted_reason, c.gone_at FROM backup_copy c JOIN backup b ON b.id = c.backup;

-- Its stored objects were read back there, and no later proof failed there.
CREATE FUNCTION place_good(p_backup uuid, p_repository int) RETURNS boolean LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT EXISTS (SELECT FROM verification v WHERE v.backup = p_backup AND v.repository = p_repository AND v.level = 'stored' AND v.result = 'ok')
    AND NOT EXISTS (SELECT FROM verification f WHERE f.backup = p_backup AND f.repository = p_repository AND f.result = 'failed'
      AND NOT EXISTS (SELECT FROM verification g WHERE g.backup = p_backup AND g.repository = p_repository AND g.level = f.level
        AND g.result = 'ok' AND g.finished_at > f.finished_at)) $$;

-- Good: completed, and good in one of its places. Partial never counts.
CREATE OR REPLACE FUNCTION backup_good(b backup) RETURNS boolean LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT b.outcome = 'completed' AND b.deleted_at IS NULL AND (b.left_at IS NULL AND place_good(b.id, b.repository)
    OR EXISTS (SELECT FROM backup_copy c WHERE c.backup = b.id AND c.deleted_at IS NULL AND place_good(c.backup, c.repository))) $$;

CREATE OR REPLACE FUNCTION place_json(p backup_place) RETURNS jsonb LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT jsonb_build_object('store', r.store, 'state', CASE WHEN p.gone_at IS NOT NULL THEN 'gone' WHEN p.deleted_at IS NOT NULL THEN 'forgotten'
      WHEN x.fault IS NOT NULL THEN 'damaged' ELSE 'ok' END, 'fault', x.fault, 'made_here', p.made_here, 'committed_at', rfc3339(p.committed_at),
    'marked', p.marker_at IS NOT NULL, 'expires_at', rfc3339(p.expires_at), 'deleted_at', rfc3339(p.deleted_at),
    'verified', (SELECT v.level || ' ' || v.result FROM verification v WHERE v.backup = p.backup AND v.repository = p.repository
      ORDER BY v.finished_at DESC, v.id DESC LIMIT 1),
    'retention', (SELECT u.reason FROM retention_ruling u JOIN retention_run n ON n.job = u.job WHERE u.backup = p.backup AND n.repository = p.repository
      ORDER BY u.job DESC LIMIT 1))
  FROM repository r, (SELECT CASE WHEN p.deleted_at IS NULL THEN place_fault(p.backup, p.repository) END AS fault) x WHERE r.no = p.repository $$;

-- --- planning -------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION retention_sources(p_source int, p_repository int, p_after text, p_most int)
  RETURNS TABLE (source int, name text, repository int, store text, key_set text, spec text, timezone text, failures bigint,
    suspicious text, frozen text, lock_s bigint, policy bigint, now_is timestamptz, retired boolean)
  LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT s.no, s.name, r.no, r.store, r.key_set, s.spec::text, coalesce(s.spec ->> 'timezone', 'UTC'),
    (SELECT count(*) FROM job j WHERE j.source = s.no AND j.kind = 'backup' AND j.state IN ('failed', 'partial', 'missed')
       AND j.id > coalesce((SELECT max(k.id) FROM job k WHERE k.source = s.no AND k.kind = 'backup' AND k.state = 'completed'), 0)),
    CASE WHEN s.suspicious_at IS NOT NULL THEN coalesce(s.suspicious_reason, 'its backups look suspicious') END,
    CASE WHEN r.rolled_back THEN 'its store or the catalogue was set back' WHEN r.frozen_at IS NOT NULL THEN r.frozen_reason END,
    coalesce(((st.config #>> '{lock,for}')::bigint) / 1000, 0), policy_mark(), clock_timestamp(), s.retired_at IS NOT NULL
  FROM (SELECT * FROM source x WHERE (p_source IS NULL OR x.no = p_source) AND (p_after IS NULL OR x.name > p_after)
          AND (p_source IS NOT NULL OR x.retired_at IS NULL) ORDER BY x.name LIMIT p_most) s
  JOIN repository r ON CASE WHEN p_repository IS NOT NULL THEN r.no = p_repository
    ELSE r.no = s.repository OR EXISTS (SELECT FROM backup_place b WHERE b.source = s.no AND b.repository = r.no AND b.deleted_at IS NULL) END
  JOIN store st ON st.name = r.store ORDER BY s.name, r.no $$;

CREATE OR REPLACE FUNCTION retention_backups(p_source int, p_repository int)
  RETURNS TABLE (id uuid, at timestamptz, started_at timestamptz, committed_at timestamptz, sequence bigint, schedule text, quality int,
    proved boolean, in_use boolean, held_until timestamptz, locked_until timestamptz, bytes bigint, outcome text)
  LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT b.id, b.consistent_at, b.started_at, b.committed_at, b.sequence, b.schedule,
    CASE WHEN b.outcome <> 'completed' THEN 3 WHEN place_good(b.id, p_repository) THEN 1 ELSE 2 END,
    EXISTS (SELECT FROM verification v WHERE v.backup = b.id AND v.repository = p_repository AND v.level IN ('content', 'restore', 'query') AND v.result = 'ok'),
    EXISTS (SELECT FROM job j WHERE j.source = p_source AND j.state IN ('pending', 'queued', 'running') AND j.backup = b.id),
    b.held_until, b.locked_until, b.bytes, b.outcome
  FROM backup b LEFT JOIN backup_copy c ON c.backup = b.id AND c.repository = p_repository AND c.deleted_at IS NULL
  WHERE b.source = p_source AND (b.repository = p_repository AND b.deleted_at IS NULL AND b.left_at IS NULL OR c.backup IS NOT NULL)
  ORDER BY b.consistent_at, b.sequence $$;

CREATE OR REPLACE FUNCTION retention_frees(p_repository int, p_backups uuid[]) RETURNS TABLE (backup uuid, bytes bigint) LANGUAGE plpgsql STABLE
  SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  going bigint[];
BEGIN
  SELECT array_agg(DISTINCT u.no) INTO going FROM backup_place b CROSS JOIN LATERAL unnest(b.packs) u(no)
    WHERE b.backup = ANY (p_backups) AND b.repository = p_repository;
  RETURN QUERY WITH left_over AS MATERIALIZED (
      SELECT unnest(going) AS no EXCEPT
      SELECT u.no FROM backup_place y CROSS JOIN LATERAL unnest(y.packs) u(no)
        WHERE y.repository = p_repository AND y.deleted_at IS NULL AND y.backup <> ALL (p_backups)),
    owner AS (SELECT DISTINCT ON (l.no) l.no, b.backup AS id FROM backup_place b JOIN backup o ON o.id = b.backup
        CROSS JOIN LATERAL unnest(b.packs) u(no) JOIN left_over l ON l.no = u.no
        WHERE b.backup = ANY (p_backups) AND b.repository = p_repository ORDER BY l.no, o.consistent_at DESC, o.sequence DESC)
    SELECT o.id, sum(p.bytes)::bigint FROM owner o JOIN pack p ON p.no = o.no GROUP BY o.id;
END $$;

-- A source's run is one of each repository that holds its backups: the slot's own is of the first store.
CREATE FUNCTION retention_of_copies() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  s source;
BEGIN
  SELECT * INTO s FROM source WHERE no = NEW.source;
  PERFORM job_new('retention', NEW.trigger, s, NULL, NULL, '{"copy": true}', NEW.pool, NEW.actor, NULL, NEW.priority::int, 'pending', NULL, r.no, NULL)
    FROM repository r WHERE r.no <> NEW.repository
      AND EXISTS (SELECT FROM backup_copy c JOIN backup b ON b.id = c.backup WHERE b.source = s.no AND c.repository = r.no AND c.deleted_at IS NULL)
      AND NOT EXISTS (SELECT FROM job j WHERE j.kind = 'retention' AND j.source = s.no AND j.repository = r.no AND j.state IN ('pending', 'queued', 'running'));
  RETURN NULL;
END $$;
CREATE TRIGGER retention_of_copies AFTER INSERT ON job FOR EACH ROW
  WHEN (NEW.kind = 'retention' AND NEW.source IS NOT NULL AND NEW.finished_at IS NULL AND NOT NEW.params ? 'copy') EXECUTE FUNCTION retention_of_copies();

CREATE OR REPLACE FUNCTION retention_take(p_job bigint, p_attempt bigint, p_claim uuid) RETURNS TABLE (backup uuid, reason text)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
  j job;
  r retention_run;
  why text;
BEGIN
  PERFORM collect_may(s.repository);
  SELECT * INTO j FROM job x WHERE x.id = p_job;
  SELECT * INTO r FROM retention_run x WHERE x.job = p_job;
  IF r.job IS NULL OR r.policy <> policy_mark() OR r.planned_at < clock_timestamp() - make_interval(secs => setting_of('retention_plan_s')) THEN
    RAISE EXCEPTION 'the plan of job % is too old, or of another policy: it is planned anew', p_job USING ERRCODE = 'HF003', DETAIL = 'retention.stale';
  END IF;
  SELECT suspicious_reason INTO why FROM source x WHERE x.no = j.source AND x.suspicious_at IS NOT NULL;
  IF FOUND THEN
    RAISE EXCEPTION 'nothing of this source expires: %', coalesce(why, 'its backups look suspicious') USING ERRCODE = 'HF003', DETAIL = 'retention.suspicious';
  END IF;
  IF NOT EXISTS (SELECT FROM backup_place p JOIN backup b ON b.id = p.backup WHERE p.source = j.source AND p.repository = s.repository
      AND p.deleted_at IS NULL AND b.outcome = 'completed' AND place_good(p.backup, p.repository)
      AND NOT EXISTS (SELECT FROM retention_ruling x WHERE x.job = p_job AND x.backup = p.backup AND x.expires)) THEN
    RAISE EXCEPTION 'no good backup would be left: it is planned anew' USING ERRCODE = 'HF003', DETAIL = 'retention.last_good';
  END IF;
  RETURN QUERY SELECT x.backup, x.reason FROM retention_ruling x JOIN backup b ON b.id = x.backup
      JOIN backup_place p ON p.backup = b.id AND p.repository = s.repository AND p.deleted_at IS NULL
    WHERE x.job = p_job AND x.expires
      AND coalesce(b.held_until, '-infinity') <= clock_timestamp() AND coalesce(b.locked_until, '-infinity') <= clock_timestamp()
      AND NOT EXISTS (SELECT FROM job o WHERE o.source = j.source AND o.state IN ('pending', 'queued', 'running') AND o.backup = b.id)
    ORDER BY b.consistent_at, b.sequence;
END $$;

CREATE OR REPLACE VIEW retention_facts AS
  SELECT s.name AS source, r.store, r.key_set, x.source AS source_no, x.repository, n.planned_at, n.kept, n.expired,
    coalesce(n.frozen, CASE WHEN r.frozen_at IS NOT NULL THEN r.frozen_reason END) AS frozen, n.job, j.state, j.cause, j.error,
    (SELECT max(k.finished_at) FROM retention_run o JOIN job k ON k.id = o.job
      WHERE o.source = x.source AND o.repository = x.repository AND k.state = 'completed') AS acted_at,
    s.covered_since,
    (SELECT count(*) FROM backup_place b JOIN backup y ON y.id = b.backup WHERE b.source = x.source AND b.repository = x.repository AND b.deleted_at IS NULL
      AND b.expires_at < clock_timestamp() - make_interval(secs => setting_of('retention_overdue_s'))
      AND coalesce(y.held_until, '-infinity') < clock_timestamp() AND coalesce(y.locked_until, '-infinity') < clock_timestamp()) AS overdue
  FROM (SELECT c.source, s.repository FROM schedule c JOIN source s ON s.no = c.source WHERE c.kind = 'retention' AND s.retired_at IS NULL
        UNION SELECT o.source, o.repository FROM retention_run o JOIN source s ON s.no = o.source WHERE s.retired_at IS NULL) x
  JOIN source s ON s.no = x.source JOIN repository r ON r.no = x.repository
  LEFT JOIN LATERAL (SELECT o.* FROM retention_run o WHERE o.source = x.source AND o.repository = x.repository
    ORDER BY o.planned_at DESC LIMIT 1) n ON true
  LEFT JOIN job j ON j.id = n.job;

-- --- forgetting -----------------------------------------------------------------------------------

-- Why this place may not be given up; no row: it may. The last good place of a source never is.
CREATE FUNCTION place_refusal(b backup, p_repository int) RETURNS TABLE (answer text, why text) LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT x.answer, x.why FROM (
    SELECT 1 AS n, 'already' AS answer, coalesce(p.deleted_reason, '') AS why FROM backup_place p
      WHERE p.backup = b.id AND p.repository = p_repository AND p.deleted_at IS NOT NULL
    UNION ALL SELECT 2, 'held', format('it is held: %s', coalesce(b.held_reason, '')) WHERE b.held_until > clock_timestamp()
    UNION ALL SELECT 3, 'locked', format('it is locked until %s', b.locked_until) WHERE b.locked_until > clock_timestamp()
    UNION ALL SELECT 4, 'pinned', format('%s reads it', job_text(j.id)) FROM job j WHERE j.backup = b.id AND j.state = 'running'
    UNION ALL SELECT 5, 'last_good', 'it is the last good backup of a source that the policy has'
      WHERE b.outcome = 'completed' AND EXISTS (SELECT FROM source x WHERE x.no = b.source AND x.retired_at IS NULL)
        AND NOT EXISTS (SELECT FROM backup_place p JOIN backup x ON x.id = p.backup WHERE p.source = b.source
          AND (p.backup <> b.id OR p.repository <> p_repository) AND p.deleted_at IS NULL AND x.outcome = 'completed'
          AND NOT EXISTS (SELECT FROM verification v WHERE v.backup = p.backup AND v.repository = p.repository AND v.result = 'failed'))) x
  ORDER BY x.n LIMIT 1 $$;

CREATE FUNCTION place_forget(p_backup uuid, p_repository int, p_reason text) RETURNS void LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  others boolean := EXISTS (SELECT FROM backup_place p WHERE p.backup = p_backup AND p.repository <> p_repository AND p.deleted_at IS NULL);
BEGIN
  UPDATE backup_copy SET deleted_at = clock_timestamp(), deleted_reason = left(p_reason, 400) WHERE backup = p_backup AND repository = p_repository;
  UPDATE backup SET left_at = clock_timestamp(), deleted_reason = left(p_reason, 400) WHERE id = p_backup AND repository = p_repository AND others;
  UPDATE backup SET deleted_at = clock_timestamp(), deleted_reason = left(p_reason, 400) WHERE id = p_backup AND deleted_at IS NULL AND NOT others;
END $$;

CREATE OR REPLACE FUNCTION backups_forget(p_job bigint, p_attempt bigint, p_claim uuid, p_backups uuid[], p_reasons text[])
  RETURNS TABLE (backup uuid, answer text, why text)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
  b backup;
  no record;
  one record;
BEGIN
  PERFORM need_values(num_nulls(p_backups, p_reasons), 'backups_forget');
  PERFORM collect_may(s.repository);
  FOR one IN SELECT x.id, x.reason FROM unnest(p_backups, p_reasons) AS x(id, reason) ORDER BY x.id LOOP
    backup := one.id; answer := 'deleted'; why := coalesce(one.reason, '');
    SELECT * INTO b FROM backup x WHERE x.id = one.id FOR UPDATE;
    SELECT * INTO no FROM place_refusal(b, s.repository);
    IF b.id IS NULL OR NOT EXISTS (SELECT FROM backup_place p WHERE p.backup = one.id AND p.repository = s.repository) THEN
      answer := 'unknown'; why := 'this repository has no such backup';
    ELSIF no.answer IS NOT NULL THEN
      answer := no.answer; why := no.why;
    ELSE
      PERFORM place_forget(one.id, s.repository, one.reason);
      INSERT INTO audit_event(actor, actor_kind, via, action, object, reason, result, detail)
        SELECT j.actor, 'system', 'worker', 'backup.delete', one.id::text, left(one.reason, 400), 'ok',
          jsonb_build_object('job', p_job, 'source', (SELECT name FROM source WHERE no = b.source),
            'store', (SELECT store FROM repository r WHERE r.no = s.repository)) FROM job j WHERE j.id = p_job;
    END IF;
    RETURN NEXT;
  END LOOP;
END $$;

-- A job for each place that forgets it there; refused at once where the jobs would refuse.
CREATE OR REPLACE FUNCTION backup_delete(p_backup uuid, p_reason text, p_actor text, p_key text) RETURNS TABLE (job bigint, pool int, again boolean)
  LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  b backup;
  p record;
  no record;
  first boolean := true;
BEGIN
  IF coalesce(btrim(p_reason), '') = '' THEN
    RAISE EXCEPTION 'a backup is not deleted without a reason' USING ERRCODE = 'HF004', DETAIL = 'backup.reason';
  END IF;
  SELECT * INTO b FROM backup x WHERE x.id = p_backup;
  IF b.id IS NULL THEN
    RAISE EXCEPTION 'no backup has the id %', p_backup USING ERRCODE = 'HF002', DETAIL = 'backup.unknown';
  END IF;
  SELECT * INTO no FROM forget_refusal(b);
  IF no.answer IS NOT NULL THEN
    RAISE EXCEPTION 'this backup is not deleted: %', no.why USING ERRCODE = 'HF003', DETAIL = 'backup.' || no.answer;
  END IF;
  FOR p IN SELECT x.repository, r.store, r.key_set FROM backup_place x JOIN repository r ON r.no = x.repository
      WHERE x.backup = b.id AND x.deleted_at IS NULL ORDER BY x.made_here DESC, x.repository LOOP
    PERFORM collect_may(p.repository);
    SELECT x.job, x.pool, x.again INTO job, pool, again FROM repository_job('prune', 'manual', p.store, p.key_set,
      jsonb_build_object('forget', jsonb_build_array(p_backup), 'reason', p_reason), p_actor, CASE WHEN first THEN p_key END) x;
    IF first THEN
      RETURN NEXT;
      EXIT WHEN again;
    END IF;
    first := false;
  END LOOP;
END $$;

CREATE OR REPLACE FUNCTION forgets_due(p_job bigint, p_attempt bigint, p_claim uuid, p_most int)
  RETURNS TABLE (backup uuid, manifest_sha256 bytea, source text, reason text)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
BEGIN
  PERFORM collect_may(s.repository);
  RETURN QUERY SELECT b.id, b.manifest_sha256, src.name, coalesce(p.deleted_reason, '')
    FROM backup_place p JOIN backup b ON b.id = p.backup JOIN source src ON src.no = b.source
    WHERE p.repository = s.repository AND p.deleted_at IS NOT NULL AND p.gone_at IS NULL ORDER BY b.id LIMIT p_most;
END $$;

CREATE OR REPLACE FUNCTION forget_done(p_job bigint, p_attempt bigint, p_claim uuid, p_backup uuid) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
BEGIN
  UPDATE backup SET gone_at = coalesce(gone_at, clock_timestamp()) WHERE id = p_backup AND repository = s.repository
    AND coalesce(left_at, deleted_at) IS NOT NULL;
  UPDATE backup_copy SET gone_at = coalesce(gone_at, clock_timestamp()) WHERE backup = p_backup AND repository = s.repository AND deleted_at IS NOT NULL;
END $$;

CREATE OR REPLACE FUNCTION collect_indexes(p_job bigint, p_attempt bigint, p_claim uuid, p_most int) RETURNS TABLE (backup uuid, object uuid)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
BEGIN
  PERFORM collect_may(s.repository);
  RETURN QUERY SELECT x.id, x.index_object FROM (
      SELECT b.id, b.index_object, b.packs, b.job FROM backup b WHERE b.repository = s.repository AND b.gone_at IS NOT NULL AND b.index_gone_at IS NULL
      UNION ALL SELECT c.backup, c.index_object, c.packs, c.job FROM backup_copy c
        WHERE c.repository = s.repository AND c.gone_at IS NOT NULL AND c.index_gone_at IS NULL) x
    WHERE NOT EXISTS (SELECT FROM pack p WHERE p.no = ANY (x.packs) AND p.job = x.job AND p.state <> 'deleted')
    UNION ALL SELECT i.object, i.object FROM repack_index i WHERE i.repository = s.repository AND i.gone_at IS NULL
      AND NOT EXISTS (SELECT FROM pack p WHERE p.no = ANY (i.packs) AND p.state <> 'deleted') LIMIT p_most;
END $$;

CREATE OR REPLACE FUNCTION collect_indexes_gone(p_job bigint, p_attempt bigint, p_claim uuid, p_backups uuid[]) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
BEGIN
  PERFORM need_values(num_nulls(p_backups), 'collect_indexes_gone');
  UPDATE backup SET index_gone_at = clock_timestamp() WHERE id = ANY (p_backups) AND repository = s.repository AND gone_at IS NOT NULL;
  UPDATE backup_copy SET index_gone_at = clock_timestamp() WHERE backup = ANY (p_backups) AND repository = s.repository AND gone_at IS NOT NULL;
  UPDATE repack_index SET gone_at = clock_timestamp() WHERE object = ANY (p_backups) AND repository = s.repository;
END $$;

CREATE OR REPLACE FUNCTION repack_pick(p_job bigint, p_attempt bigint, p_claim uuid, p_all boolean, p_most int)
  RETURNS TABLE (no bigint, object uuid, pack uuid, kind text, bytes bigint, sha256 bytea, domain int, share double precision)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
  s session := fence_repack(p_job, p_attempt, p_claim);
BEGIN
  PERFORM need_values(num_nulls(p_all, p_most), 'repack_pick');
  RETURN QUERY WITH let_go AS MATERIALIZED (
      SELECT u.no, max(b.gone_at) AS at FROM backup_place b CROSS JOIN LATERAL unnest(b.packs) u(no)
        WHERE b.repository = s.repository AND b.gone_at > (SELECT min(p.looked_at) FROM pack p WHERE p.repository = s.repository AND p.state = 'live')
        GROUP BY u.no),
    used AS MATERIALIZED (SELECT DISTINCT u.no FROM pack_used(s.repository) u),
    candidate AS (SELECT p.*, sum(p.bytes) OVER (ORDER BY p.no) - p.bytes AS before FROM pack p
      WHERE p.repository = s.repository AND p.state = 'live' AND p.damaged_at IS NULL AND p.sha256 IS NOT NULL
        AND p.no IN (SELECT u.no FROM used u)
        AND NOT EXISTS (SELECT FROM backup b WHERE b.job = p.job AND b.deleted_at IS NULL AND b.left_at IS NULL)
        AND NOT EXISTS (SELECT FROM backup_copy c WHERE c.repository = p.repository AND c.job = p.job AND c.deleted_at IS NULL)
        AND (p_all OR p.looked_at IS NULL OR EXISTS (SELECT FROM let_go l WHERE l.no = p.no AND l.at > p.looked_at)))
    SELECT c.no, c.object, c.pack, c.kind, c.bytes, c.sha256, c.domain, setting_of('repack_share')::double precision FROM (
      SELECT * FROM candidate x WHERE x.before < setting_of('repack_bytes') ORDER BY x.no LIMIT p_most) c ORDER BY c.domain, c.kind, c.no;
END $$;

CREATE OR REPLACE FUNCTION repack_backups(p_job bigint, p_attempt bigint, p_claim uuid, p_nos bigint[], p_after uuid, p_most int)
  RETURNS TABLE (backup uuid, manifest_sha256 bytea, going boolean, no bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
  s session := fence_repack(p_job, p_attempt, p_claim);
BEGIN
  PERFORM need_values(num_nulls(p_nos, p_after, p_most), 'repack_backups');
  RETURN QUERY SELECT y.backup, b.manifest_sha256, y.deleted_at IS NOT NULL, u.no FROM (
      SELECT x.backup, x.deleted_at, x.packs FROM backup_place x
        WHERE x.repository = s.repository AND x.gone_at IS NULL AND x.backup > p_after AND x.packs && p_nos ORDER BY x.backup LIMIT p_most) y
    JOIN backup b ON b.id = y.backup CROSS JOIN LATERAL unnest(y.packs) u(no) WHERE u.no = ANY (p_nos) ORDER BY y.backup, u.no;
END $$;

-- --- what else asks where a backup lies -----------------------------------------------------------

CREATE OR REPLACE VIEW backup_damage AS
  SELECT p.no AS pack_no, p.repository, p.object, p.kind, p.bytes, p.state, p.damaged_at, p.damage, b.backup, b.source,
    x.consistent_at, b.deleted_at IS NOT NULL AS deleted
  FROM pack p JOIN backup_place b ON b.repository = p.repository AND b.packs @> ARRAY[p.no] AND b.deleted_at IS NULL JOIN backup x ON x.id = b.backup
  WHERE p.damaged_at IS NOT NULL AND p.state <> 'deleted';

CREATE OR REPLACE FUNCTION repository_look(p_job bigint, p_attempt bigint, p_claim uuid, p_markers uuid[])
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
    LEFT JOIN LATERAL (SELECT y.id, y.manifest_sha256 FROM (
        (SELECT x.id, x.manifest_sha256, x.committed_at AS at FROM backup x
          WHERE x.repository = s.repository AND x.marker_at IS NOT NULL AND x.deleted_at IS NULL AND x.left_at IS NULL AND x.committed_at > since
          ORDER BY x.committed_at DESC LIMIT 1)
        UNION ALL (SELECT x.id, x.manifest_sha256, c.committed_at FROM backup_copy c JOIN backup x ON x.id = c.backup
          WHERE c.repository = s.repository AND c.marker_at IS NOT NULL AND c.deleted_at IS NULL AND c.committed_at > since
          ORDER BY c.committed_at DESC LIMIT 1)) y ORDER BY y.at DESC LIMIT 1) b ON true
    LEFT JOIN LATERAL (SELECT u.id FROM unnest(p_markers) AS u(id)
      WHERE backup_named_at(u.id) > since AND NOT EXISTS (SELECT FROM backup x WHERE x.id = u.id AND x.repository = s.repository)
        AND NOT EXISTS (SELECT FROM backup_copy x WHERE x.backup = u.id AND x.repository = s.repository)
      ORDER BY u.id LIMIT 1) m ON true;
END $$;

CREATE OR REPLACE FUNCTION repository_set_back(p_job bigint, p_attempt bigint, p_claim uuid, p_why text, p_lost uuid, p_epoch bigint)
  RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, true);
  s session := fence_session(p_job, p_attempt);
BEGIN
  PERFORM need_values(num_nulls(p_why), 'repository_set_back');
  IF EXISTS (SELECT FROM backup_place b WHERE b.backup = p_lost AND b.repository = s.repository AND b.deleted_at IS NOT NULL) THEN
    RETURN false;
  END IF;
  UPDATE repository r SET rolled_back = true, set_back_at = clock_timestamp(), set_back_epoch = coalesce(p_epoch, set_back_epoch)
    WHERE r.no = s.repository AND (r.set_back_at IS NULL
      OR (p_lost IS NULL AND p_epoch IS NULL)
      OR p_epoch IS DISTINCT FROM r.set_back_epoch AND p_epoch IS NOT NULL
      OR EXISTS (SELECT FROM backup_place b WHERE b.backup = p_lost AND b.repository = r.no AND b.committed_at > r.set_back_at));
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

-- --- rebuild --------------------------------------------------------------------------------------

-- A backup that the catalogue knows from another store is a copy here.
ALTER FUNCTION rebuild_backup(bigint, bigint, uuid, int, uuid, bytea, bytea, uuid, bigint[], jsonb) RENAME TO rebuild_backup_made;
CREATE FUNCTION rebuild_backup(p_job bigint, p_attempt bigint, p_claim uuid, p_repository int, p_id uuid, p_manifest_sha256 bytea,
    p_signer bytea, p_index uuid, p_packs bigint[], p_facts jsonb) RETURNS TABLE (answer text, why text)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  repo int := rebuild_fence(p_job, p_attempt, p_claim, p_repository);
  b backup;
  missing bigint := (p_facts ->> 'missing')::bigint;
BEGIN
  SELECT * INTO b FROM backup x WHERE x.id = p_id;
  IF b.id IS NULL OR b.repository = repo OR b.manifest_sha256 IS DISTINCT FROM p_manifest_sha256
     OR EXISTS (SELECT FROM backup_copy c WHERE c.backup = p_id AND c.repository = repo) THEN
    RETURN QUERY SELECT m.answer, m.why FROM rebuild_backup_made(p_job, p_attempt, p_claim, p_repository, p_id, p_manifest_sha256, p_signer, p_index, p_packs, p_facts) m;
    RETURN;
  ELSIF NOT (p_facts ->> 'marked')::boolean THEN
    RETURN QUERY SELECT 'zombie', 'a copy that was never committed';
    RETURN;
  END IF;
  PERFORM rebuild_own(repo, b.source, p_id, p_index, p_signer, p_packs);
  INSERT INTO backup_copy(backup, repository, job, stored_bytes, index_object, packs, marker_at)
    VALUES (p_id, repo, CASE WHEN p_job = 0 THEN b.job ELSE p_job END, b.stored_bytes,
            coalesce((SELECT i.object FROM rebuilt_index i WHERE i.repository = repo AND i.backup = p_id ORDER BY i.object LIMIT 1), -- the manifest names
                     '00000000-0000-0000-0000-000000000000'),                                                                       -- that of the other place
            array(SELECT DISTINCT u FROM unnest(p_packs) u ORDER BY u), clock_timestamp());
  UPDATE backup SET deleted_at = NULL, left_at = coalesce(left_at, deleted_at) WHERE id = p_id AND deleted_at IS NOT NULL;
  INSERT INTO verification(backup, repository, job, level, result, started_at, checks)
    VALUES (p_id, repo, CASE WHEN p_job = 0 THEN b.job ELSE p_job END, 'stored', CASE WHEN missing > 0 THEN 'failed' ELSE 'ok' END, clock_timestamp(),
            jsonb_build_object('imported', true, 'missing', missing));
  RETURN QUERY SELECT 'imported', 'a copy';
END $$;

CREATE OR REPLACE FUNCTION rebuild_backups(p_job bigint, p_attempt bigint, p_claim uuid, p_repository int, p_after uuid, p_most int)
  RETURNS TABLE (backup uuid, manifest_sha256 bytea, marked boolean)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  repo int := rebuild_fence(p_job, p_attempt, p_claim, p_repository);
BEGIN
  RETURN QUERY SELECT b.id, b.manifest_sha256, p.marker_at IS NOT NULL FROM backup_place p JOIN backup b ON b.id = p.backup
    WHERE p.repository = repo AND p.backup > p_after AND p.deleted_at IS NULL ORDER BY b.id LIMIT p_most;
END $$;

CREATE OR REPLACE FUNCTION rebuild_lost(p_job bigint, p_attempt bigint, p_claim uuid, p_repository int, p_backup uuid, p_why text) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  repo int := rebuild_fence(p_job, p_attempt, p_claim, p_repository);
BEGIN
  INSERT INTO verification(backup, repository, job, level, result, started_at, checks)
    SELECT b.id, repo, CASE WHEN p_job = 0 THEN b.job ELSE p_job END, 'stored', 'failed', clock_timestamp(), jsonb_build_object('lost', left(p_why, 400))
    FROM backup_place p JOIN backup b ON b.id = p.backup WHERE p.backup = p_backup AND p.repository = repo AND p.deleted_at IS NULL
      AND NOT EXISTS (SELECT FROM verification v WHERE v.backup = b.id AND v.repository = repo AND v.level = 'stored' AND v.checks ? 'lost'
        AND v.id = (SELECT max(w.id) FROM verification w WHERE w.backup = b.id AND w.repository = repo AND w.level = 'stored'));
  RETURN FOUND;
END $$;

CREATE OR REPLACE FUNCTION rebuild_forgotten(p_job bigint, p_attempt bigint, p_claim uuid, p_repository int, p_backup uuid) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  repo int := rebuild_fence(p_job, p_attempt, p_claim, p_repository);
BEGIN
  IF NOT EXISTS (SELECT FROM backup_place p WHERE p.backup = p_backup AND p.repository = repo AND p.deleted_at IS NULL) THEN
    RETURN false;
  END IF;
  PERFORM place_forget(p_backup, repo, NULL);
  RETURN true;
END $$;

GRANT EXECUTE ON FUNCTION rebuild_backup TO holdfast_reader;
REVOKE ALL ON FUNCTION rebuild_backup_made FROM holdfast_reader;
GRANT EXECUTE ON FUNCTION place_good, place_refusal TO holdfast_scheduler;
