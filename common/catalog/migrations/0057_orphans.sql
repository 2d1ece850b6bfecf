-- Objects of a store that no row accounts for: what a dead attempt left, what a fenced one wrote after its packs were
-- swept, what an operator put there. A scan of the collector lists the store and writes down what it sees; nothing is
-- moved before two scans a day apart have seen it, every session that may have written it is over, and the store's epoch
-- is the one that the catalogue has confirmed. It goes to quarantine/ first, and is deleted from there weeks later. A
-- backup of the store that the catalogue does not know stops all of it: a merge comes first. Packs that are damaged go
-- to quarantine/ too when nothing names them any more, and are never deleted.
INSERT INTO setting VALUES
  ('orphan_scan_s', 72000, 'between two scans of a repository for objects that no row accounts for'),
  ('orphan_age_s', 86400, 'two scans so far apart must have seen such an object before it goes to quarantine'),
  ('orphan_keep_s', 1209600, 'how long it lies in quarantine before it is deleted'),
  ('orphan_retry_s', 86400, 'until an object is tried again that the store did not let go');

CREATE TABLE orphan_scan (
  job        bigint,
  attempt    bigint,
  repository int NOT NULL REFERENCES repository,
  began_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  ended_at   timestamptz,                                            -- when everything was listed
  epoch      bigint,                                                 -- in the store; NULL: not known
  listed     bigint,
  blocked    text,                                                   -- why nothing was moved or deleted
  PRIMARY KEY (job, attempt),
  FOREIGN KEY (job, attempt) REFERENCES job_attempt);
CREATE INDEX orphan_scan_last ON orphan_scan(repository, began_at);

CREATE TABLE orphan (
  no         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  repository int NOT NULL REFERENCES repository,
  name       text NOT NULL,                                          -- of the object, below the repository
  kind       text NOT NULL CHECK (kind IN ('pack','index','manifest','parents','marker','foreign')),
  why        text NOT NULL CHECK (why IN ('unknown','left_over','damaged','foreign')),
  state      text NOT NULL DEFAULT 'seen' CHECK (state IN ('seen','moving','quarantined','deleted','gone')),
  bytes      bigint NOT NULL,
  epoch      bigint NOT NULL,                                        -- of the repository when it was first seen
  scans      int NOT NULL DEFAULT 1,                                 -- how many jobs have seen it
  scan       bigint NOT NULL,                                        -- the last of them
  first_seen timestamptz NOT NULL DEFAULT clock_timestamp(),
  last_seen  timestamptz NOT NULL DEFAULT clock_timestamp(),
  moving_at  timestamptz,
  quarantined_at timestamptz,
  ended_at   timestamptz,                                            -- it was deleted, or was not there any more
  retry_at   timestamptz,
  error      text);
CREATE UNIQUE INDEX orphan_in_place ON orphan(repository, name) WHERE state IN ('seen', 'moving');
CREATE INDEX orphan_first ON orphan(repository) WHERE state IN ('seen', 'moving') AND kind IN ('manifest', 'marker') AND why = 'unknown';
CREATE INDEX orphan_quarantined ON orphan(repository, quarantined_at) WHERE state = 'quarantined';
CREATE INDEX backup_of_index ON backup(repository, index_object);
CREATE INDEX backup_copy_of_index ON backup_copy(repository, index_object);

-- A number is never given twice, so a name in quarantine is written once too.
CREATE FUNCTION orphan_place(p_no bigint, p_name text) RETURNS text LANGUAGE sql IMMUTABLE SET search_path = holdfast, pg_temp AS $$
  SELECT 'quarantine/' || p_no || '/' || p_name $$;

-- What an object is by its name, and whose.
CREATE FUNCTION orphan_named(p_name text) RETURNS TABLE (kind text, id uuid) LANGUAGE sql IMMUTABLE SET search_path = holdfast, pg_temp AS $$
  SELECT y.kind, CASE WHEN y.kind <> 'foreign' THEN substring(p_name FROM u)::uuid END
  FROM (VALUES ('[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}')) x(u), LATERAL (SELECT CASE
    WHEN p_name ~ ('^packs/[0-9a-f]{2}/' || u || '$') AND substr(p_name, 7, 2) = substr(p_name, 10, 2) THEN 'pack'
    WHEN p_name ~ ('^index/' || u || '$') THEN 'index'
    WHEN p_name ~ ('^manifests/' || u || '$') THEN 'manifest'
    WHEN p_name ~ ('^commits/' || u || '$') THEN 'marker'
    WHEN p_name ~ ('^parents/' || u || '([.][0-9]+)?$') THEN 'parents'
    ELSE 'foreign' END AS kind) y $$;

-- Which of these objects no row accounts for. unknown: there never was one; left_over: it says that the object is gone.
-- An index object is in no row either where its session wrote several: the packs in its head are asked for then.
CREATE FUNCTION orphan_judge(p_repository int, p_names text[]) RETURNS TABLE (n bigint, kind text, why text)
  LANGUAGE sql STABLE SET search_path = holdfast, pg_temp SET jit = off AS $$
  SELECT z.n, z.kind, z.why FROM (SELECT x.n, k.kind, CASE k.kind
      WHEN 'foreign' THEN 'foreign'
      WHEN 'pack' THEN coalesce((SELECT CASE WHEN p.state = 'deleted' AND p.again_at IS NULL THEN 'left_over' ELSE '' END
        FROM pack p WHERE p.repository = p_repository AND p.object = k.id), 'unknown')
      WHEN 'index' THEN CASE
        WHEN EXISTS (SELECT FROM backup b WHERE b.repository = p_repository AND b.index_object = k.id AND b.index_gone_at IS NULL)
          OR EXISTS (SELECT FROM backup_copy c WHERE c.repository = p_repository AND c.index_object = k.id AND c.index_gone_at IS NULL)
          OR EXISTS (SELECT FROM repack_index i WHERE i.repository = p_repository AND i.object = k.id AND i.gone_at IS NULL) THEN ''
        ELSE 'unknown' END
      ELSE coalesce((SELECT CASE WHEN bool_or(p.gone_at IS NULL) THEN '' ELSE 'left_over' END
        FROM backup_place p WHERE p.repository = p_repository AND p.backup = k.id HAVING count(*) > 0), 'unknown') END AS why
    FROM unnest(p_names) WITH ORDINALITY AS x(name, n) CROSS JOIN LATERAL orphan_named(x.name) k) z
  WHERE z.why <> '' $$;

-- Why nothing is moved or deleted; NULL: it may be. p_epoch: the store's.
CREATE FUNCTION orphan_block(p_repository int, p_epoch bigint) RETURNS text LANGUAGE plpgsql STABLE SET search_path = holdfast, pg_temp AS $$
DECLARE
  r repository;
  strangers bigint;
BEGIN
  SELECT * INTO r FROM repository x WHERE x.no = p_repository;
  SELECT count(*) INTO strangers FROM orphan o WHERE o.repository = p_repository AND o.state = 'seen' AND o.kind = 'marker' AND o.why = 'unknown';
  RETURN CASE
    WHEN r.rolled_back THEN 'the store or the catalogue was set back to an earlier day: holdfast catalogue merge'
    WHEN strangers > 0 THEN format('the store has the markers of %s backups that the catalogue does not know: holdfast catalogue merge', strangers)
    WHEN r.frozen_at IS NOT NULL THEN format('the repository is frozen since %s: %s: holdfast retention resume', r.frozen_at, coalesce(r.frozen_reason, ''))
    WHEN p_epoch IS DISTINCT FROM r.confirmed_epoch THEN
      format('the epoch in the store is %s, the confirmed one is %s: the next run of the collector brings it', coalesce(p_epoch::text, 'not readable'), r.confirmed_epoch)
    END;
END $$;

-- May it go to quarantine? What a manifest without a row reaches nobody can say who has no reader key, so such a
-- manifest goes first, and while one lies there nothing else does. Whoever wrote an object was at work before it was
-- first seen, so no session of that time may still be open.
CREATE FUNCTION orphan_ripe(o orphan, p_job bigint) RETURNS boolean LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT o.state IN ('seen', 'moving') AND o.why IN ('unknown', 'left_over') AND (o.state = 'moving' OR o.scan = p_job AND o.scans > 1)
    AND NOT (o.kind = 'marker' AND o.why = 'unknown')
    AND o.last_seen - o.first_seen >= make_interval(secs => setting_of('orphan_age_s'))
    AND coalesce(o.retry_at, '-infinity') <= clock_timestamp()
    AND o.epoch <= (SELECT r.gc_epoch FROM repository r WHERE r.no = o.repository)
    AND (o.kind = 'manifest' OR NOT EXISTS (SELECT FROM orphan m
      WHERE m.repository = o.repository AND m.state IN ('seen', 'moving') AND m.kind = 'manifest' AND m.why = 'unknown'))
    AND NOT EXISTS (SELECT FROM session x JOIN job_attempt a ON a.job = x.job AND a.attempt = x.attempt
      WHERE x.repository = o.repository AND x.state = 'open' AND x.job <> p_job AND a.started_at <= o.first_seen) $$;

-- --- a scan -----------------------------------------------------------------------------------------

-- Is one due, or asked for? Then it has begun.
CREATE FUNCTION orphan_begin(p_job bigint, p_attempt bigint, p_claim uuid, p_asked boolean) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
BEGIN
  PERFORM need_values(num_nulls(p_asked), 'orphan_begin');
  IF NOT p_asked AND EXISTS (SELECT FROM orphan_scan x WHERE x.repository = s.repository AND x.job <> p_job AND x.ended_at IS NOT NULL
      AND x.began_at > clock_timestamp() - make_interval(secs => setting_of('orphan_scan_s'))) THEN
    RETURN false;
  END IF;
  INSERT INTO orphan_scan(job, attempt, repository) VALUES (p_job, p_attempt, s.repository) ON CONFLICT DO NOTHING;
  RETURN true;
END $$;

CREATE FUNCTION orphan_ask(p_job bigint, p_attempt bigint, p_claim uuid, p_names text[]) RETURNS TABLE (n bigint, kind text, why text)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
BEGIN
  PERFORM need_values(num_nulls(p_names), 'orphan_ask');
  RETURN QUERY SELECT j.n, j.kind, j.why FROM orphan_judge(s.repository, p_names) j ORDER BY j.n;
END $$;

-- Is any of these packs, which an index object names, still there for somebody?
CREATE FUNCTION orphan_packs(p_job bigint, p_attempt bigint, p_claim uuid, p_objects uuid[]) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
BEGIN
  PERFORM need_values(num_nulls(p_objects), 'orphan_packs');
  RETURN EXISTS (SELECT FROM pack p WHERE p.repository = s.repository AND p.object = ANY (p_objects) AND p.state <> 'deleted');
END $$;

-- These were seen. What they are is judged again here.
CREATE FUNCTION orphan_note(p_job bigint, p_attempt bigint, p_claim uuid, p_names text[], p_bytes bigint[]) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
BEGIN
  PERFORM need_values(num_nulls(p_names, p_bytes), 'orphan_note');
  INSERT INTO orphan AS o (repository, name, kind, why, bytes, epoch, scan)
    SELECT s.repository, p_names[j.n], j.kind, j.why, p_bytes[j.n], r.gc_epoch, p_job
    FROM orphan_judge(s.repository, p_names) j JOIN repository r ON r.no = s.repository
    ON CONFLICT (repository, name) WHERE state IN ('seen', 'moving') DO UPDATE
      SET kind = excluded.kind, why = CASE o.why WHEN 'damaged' THEN o.why ELSE excluded.why END, bytes = excluded.bytes,
        scans = o.scans + (o.scan <> excluded.scan)::int, scan = excluded.scan, last_seen = clock_timestamp();
END $$;

-- Everything was listed. What was not seen again, or is accounted for by now, is no orphan any more.
CREATE FUNCTION orphan_listed(p_job bigint, p_attempt bigint, p_claim uuid, p_epoch bigint, p_listed bigint)
  RETURNS TABLE (fresh bigint, known bigint, strangers bigint, blocked text)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
  since timestamptz;
  told boolean;
  place text;
BEGIN
  PERFORM need_values(num_nulls(p_listed), 'orphan_listed');
  DELETE FROM orphan o WHERE o.repository = s.repository AND o.state = 'seen' AND (o.scan <> p_job OR NOT EXISTS (
    SELECT FROM orphan_judge(s.repository, ARRAY[o.name]) j));
  UPDATE orphan o SET state = 'quarantined', quarantined_at = clock_timestamp() -- a copy may lie there, and goes in its time
    WHERE o.repository = s.repository AND o.state = 'moving' AND o.why <> 'damaged'
      AND NOT EXISTS (SELECT FROM orphan_judge(s.repository, ARRAY[o.name]) j);
  SELECT x.began_at, x.ended_at IS NOT NULL INTO since, told FROM orphan_scan x WHERE x.job = p_job AND x.attempt = p_attempt;
  SELECT r.store || '/' || r.key_set INTO place FROM repository r WHERE r.no = s.repository;
  blocked := orphan_block(s.repository, p_epoch);
  SELECT count(*) FILTER (WHERE o.first_seen >= since AND o.why <> 'foreign'), count(*) FILTER (WHERE o.first_seen < since OR o.why = 'foreign'),
      count(*) FILTER (WHERE o.kind = 'marker' AND o.why = 'unknown') INTO fresh, known, strangers
    FROM orphan o WHERE o.repository = s.repository AND o.state IN ('seen', 'moving');
  UPDATE orphan_scan x SET ended_at = clock_timestamp(), epoch = p_epoch, listed = p_listed, blocked = orphan_listed.blocked
    WHERE x.job = p_job AND x.attempt = p_attempt;
  IF NOT told AND strangers > 0 THEN
    INSERT INTO event(kind, job, data) VALUES ('alert', p_job, jsonb_build_object('code', 'repo.unknown_backups', 'repository', s.repository,
      'text', format('%s: %s', place, blocked)));
  ELSIF NOT told AND fresh > 0 THEN
    INSERT INTO event(kind, job, data) VALUES ('alert', p_job, jsonb_build_object('code', 'repo.orphans', 'repository', s.repository,
      'text', format('%s holds %s objects that no row of the catalogue accounts for: holdfast orphan list', place, fresh)));
  END IF;
  RETURN NEXT;
END $$;

-- What a scan would do now, for whoever only asks.
CREATE FUNCTION orphan_look(p_job bigint, p_attempt bigint, p_claim uuid, p_epoch bigint) RETURNS TABLE (ripe bigint, over bigint, blocked text)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
BEGIN
  RETURN QUERY SELECT count(*) FILTER (WHERE o.state IN ('seen', 'moving') AND o.why IN ('unknown', 'left_over')
        AND clock_timestamp() - o.first_seen >= make_interval(secs => setting_of('orphan_age_s'))),
      count(*) FILTER (WHERE o.state = 'quarantined' AND o.why <> 'damaged'
        AND o.quarantined_at <= clock_timestamp() - make_interval(secs => setting_of('orphan_keep_s'))), orphan_block(s.repository, p_epoch)
    FROM orphan o WHERE o.repository = s.repository;
END $$;

-- --- moving and deleting ----------------------------------------------------------------------------

-- The scan of this attempt, when it has listed everything and nothing stops it.
CREATE FUNCTION orphan_may(p_job bigint, p_attempt bigint, p_claim uuid) RETURNS session LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
  x orphan_scan;
  why text;
BEGIN
  SELECT * INTO x FROM orphan_scan y WHERE y.job = p_job AND y.attempt = p_attempt AND y.ended_at IS NOT NULL;
  IF x.job IS NULL THEN
    RAISE EXCEPTION 'attempt % of job % has not listed the store yet', p_attempt, p_job USING ERRCODE = 'HF004', DETAIL = 'orphan.order';
  END IF;
  why := orphan_block(s.repository, x.epoch);
  IF why IS NOT NULL THEN
    RAISE EXCEPTION 'orphans are only reported: %', why USING ERRCODE = 'HF003', DETAIL = 'orphan.blocked';
  END IF;
  RETURN s;
END $$;

-- The next ones: to go to quarantine, and those whose time there is over. Manifests come first.
CREATE FUNCTION orphan_due(p_job bigint, p_attempt bigint, p_claim uuid, p_most int) RETURNS TABLE (no bigint, name text, place text, over boolean, bytes bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  s session := orphan_may(p_job, p_attempt, p_claim);
BEGIN
  RETURN QUERY SELECT o.no, o.name, orphan_place(o.no, o.name), o.state = 'quarantined', o.bytes FROM orphan o
    WHERE o.repository = s.repository AND (o.state IN ('seen', 'moving') AND orphan_ripe(o, p_job)
      OR o.state = 'quarantined' AND o.why <> 'damaged' AND coalesce(o.retry_at, '-infinity') <= clock_timestamp()
        AND o.quarantined_at <= clock_timestamp() - make_interval(secs => setting_of('orphan_keep_s')))
    ORDER BY o.kind <> 'manifest', o.no LIMIT p_most;
END $$;

-- Asked before it is copied, and once more before it is taken from its place: may it still go?
CREATE FUNCTION orphan_moving(p_job bigint, p_attempt bigint, p_claim uuid, p_no bigint) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  s session := orphan_may(p_job, p_attempt, p_claim);
BEGIN
  UPDATE orphan o SET state = 'moving', moving_at = coalesce(o.moving_at, clock_timestamp())
    WHERE o.no = p_no AND o.repository = s.repository AND orphan_ripe(o, p_job)
      AND EXISTS (SELECT FROM orphan_judge(o.repository, ARRAY[o.name]) j WHERE j.why = o.why);
  RETURN FOUND;
END $$;

-- How one ended: quarantined, deleted, gone (it was not there), or not let go: it is tried again later.
CREATE FUNCTION orphan_moved(p_job bigint, p_attempt bigint, p_claim uuid, p_no bigint, p_state text, p_error text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
BEGIN
  PERFORM need_values(num_nulls(p_no, p_state), 'orphan_moved');
  UPDATE orphan o SET
      state = CASE p_state WHEN 'kept' THEN o.state ELSE p_state END, error = left(p_error, 400),
      retry_at = CASE p_state WHEN 'kept' THEN clock_timestamp() + make_interval(secs => setting_of('orphan_retry_s')) END,
      quarantined_at = CASE p_state WHEN 'quarantined' THEN clock_timestamp() ELSE o.quarantined_at END,
      ended_at = CASE WHEN p_state IN ('deleted', 'gone') THEN clock_timestamp() END
    WHERE o.no = p_no AND o.repository = s.repository AND (o.state = 'moving' AND p_state IN ('quarantined', 'gone', 'kept')
      OR o.state = 'quarantined' AND o.why <> 'damaged' AND p_state IN ('deleted', 'kept'));
  IF FOUND AND p_state IN ('quarantined', 'deleted') THEN
    INSERT INTO audit_event(actor, actor_kind, via, action, object, result, detail)
      SELECT w.name, 'worker', 'worker', 'orphan.' || p_state, r.store || '/' || r.key_set || '/' || o.name, 'ok',
        jsonb_build_object('job', p_job, 'orphan', o.no, 'why', o.why, 'bytes', o.bytes)
      FROM orphan o JOIN repository r ON r.no = o.repository, worker_me() w WHERE o.no = p_no;
  END IF;
END $$;

-- A damaged pack that is to be deleted goes to quarantine instead, and stays there.
CREATE FUNCTION orphan_damaged(p_job bigint, p_attempt bigint, p_claim uuid, p_pack bigint) RETURNS TABLE (no bigint, name text, place text)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
BEGIN
  PERFORM collect_may(s.repository);
  INSERT INTO orphan AS o (repository, name, kind, why, state, bytes, epoch, scan, moving_at, error)
    SELECT s.repository, 'packs/' || left(p.object::text, 2) || '/' || p.object, 'pack', 'damaged', 'moving', coalesce(p.bytes, 0), r.gc_epoch, p_job,
      clock_timestamp(), left(p.damage, 400)
    FROM pack p JOIN repository r ON r.no = p.repository
    WHERE p.no = p_pack AND p.repository = s.repository AND p.damaged_at IS NOT NULL AND p.state IN ('deleting', 'deleted')
    ON CONFLICT (repository, name) WHERE state IN ('seen', 'moving') DO UPDATE SET why = 'damaged', state = 'moving', moving_at = clock_timestamp()
    RETURNING o.no, o.name, orphan_place(o.no, o.name) INTO no, name, place;
  IF no IS NULL THEN
    RAISE EXCEPTION 'pack % is not a damaged one that dies', p_pack USING ERRCODE = 'HF004', DETAIL = 'orphan.not_damaged';
  END IF;
  RETURN NEXT;
END $$;
REVOKE ALL ON FUNCTION orphan_place, orphan_named, orphan_judge, orphan_block, orphan_ripe, orphan_begin, orphan_ask, orphan_packs, orphan_note,
  orphan_listed, orphan_look, orphan_may, orphan_due, orphan_moving, orphan_moved, orphan_damaged FROM PUBLIC;
GRANT EXECUTE ON FUNCTION orphan_begin, orphan_ask, orphan_packs, orphan_note, orphan_listed, orphan_look, orphan_due, orphan_moving, orphan_moved,
  orphan_damaged TO holdfast_pruner;
GRANT EXECUTE ON FUNCTION orphan_place, orphan_block TO holdfast_scheduler;
GRANT SELECT ON orphan, orphan_scan TO holdfast_scheduler;

-- --- damaged packs die like others ------------------------------------------------------------------

-- As before, and of damaged packs too: what is wrong with them matters to nobody any more, and their objects are kept.
CREATE OR REPLACE FUNCTION collect_look(p_job bigint, p_attempt bigint, p_claim uuid)
  RETURNS TABLE (unused bigint, unused_bytes bigint, live bigint, condemned bigint, dying bigint, damaged bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
BEGIN
  PERFORM collect_may(s.repository);
  RETURN QUERY SELECT count(*) FILTER (WHERE x.state = 'live' AND NOT x.used),
      coalesce(sum(x.bytes) FILTER (WHERE x.state = 'live' AND NOT x.used), 0)::bigint,
      count(*) FILTER (WHERE x.state = 'live'), count(*) FILTER (WHERE x.state = 'condemned'),
      count(*) FILTER (WHERE x.state = 'deleting'), count(*) FILTER (WHERE x.state = 'live' AND NOT x.used AND x.hurt)
    FROM (SELECT p.state, p.bytes, p.damaged_at IS NOT NULL AS hurt, u.no IS NOT NULL AS used
          FROM pack p LEFT JOIN (SELECT DISTINCT no FROM pack_used(s.repository)) u ON u.no = p.no
          WHERE p.repository = s.repository AND p.state <> 'deleted') x;
END $$;

CREATE OR REPLACE FUNCTION collect_condemn(p_job bigint, p_attempt bigint, p_claim uuid, p_anyway boolean)
  RETURNS TABLE (condemned bigint, bytes bigint, pardoned bigint, live bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
  next_epoch bigint;
BEGIN
  PERFORM need_values(num_nulls(p_anyway), 'collect_condemn');
  PERFORM pg_advisory_xact_lock(hashtextextended('holdfast.condemn', s.repository)); -- one at a time
  PERFORM collect_may(s.repository);
  INSERT INTO collection(job, attempt, repository, seen) VALUES (p_job, p_attempt, s.repository, pg_current_snapshot())
    ON CONFLICT (job, attempt) DO UPDATE SET seen = excluded.seen;
  SELECT r.gc_epoch + 1 INTO next_epoch FROM repository r WHERE r.no = s.repository;
  WITH used AS MATERIALIZED (SELECT DISTINCT u.no FROM pack_used(s.repository) u),
    moved AS (UPDATE pack p SET state = CASE p.state WHEN 'live' THEN 'condemned' ELSE 'live' END,
                condemned_epoch = CASE p.state WHEN 'live' THEN next_epoch END
              FROM (SELECT x.no FROM pack x LEFT JOIN used u ON u.no = x.no
                    WHERE x.repository = s.repository
                      AND (x.state = 'live' AND u.no IS NULL OR x.state = 'condemned' AND u.no IS NOT NULL)) c
              WHERE p.no = c.no AND p.state IN ('live', 'condemned') RETURNING p.state, p.bytes)
    SELECT count(*) FILTER (WHERE m.state = 'condemned'), coalesce(sum(m.bytes) FILTER (WHERE m.state = 'condemned'), 0)::bigint,
      count(*) FILTER (WHERE m.state = 'live') INTO condemned, bytes, pardoned FROM moved m;
  SELECT count(*) INTO live FROM pack p WHERE p.repository = s.repository AND p.state = 'live';
  IF NOT p_anyway AND condemned > setting_of('collect_few') AND condemned > (live + condemned) * setting_of('collect_share') THEN
    RAISE EXCEPTION '% of % packs are named by no backup, more than a share of %: if that is meant, say why: holdfast prune STORE --reason TEXT',
      condemned, live + condemned, setting_of('collect_share') USING ERRCODE = 'HF003', DETAIL = 'prune.too_much';
  END IF;
  IF condemned > 0 THEN -- its row is touched last: a commit waits for it
    UPDATE repository r SET gc_epoch = next_epoch WHERE r.no = s.repository AND r.gc_epoch < next_epoch;
  END IF;
  RETURN NEXT;
END $$;

CREATE OR REPLACE FUNCTION collect_flip(p_job bigint, p_attempt bigint, p_claim uuid, p_most int)
  RETURNS TABLE (flipped bigint, bytes bigint, pardoned bigint, spared bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
  before pg_snapshot;
  floor_epoch bigint;
  next_epoch bigint;
  nos bigint[];
  named bigint[];
  looked pg_snapshot;
BEGIN
  SELECT c.seen INTO before FROM collection c WHERE c.job = p_job AND c.attempt = p_attempt AND c.repository = s.repository;
  IF before IS NULL THEN
    RAISE EXCEPTION 'attempt % of job % condemned nothing yet', p_attempt, p_job USING ERRCODE = 'HF004', DETAIL = 'prune.order';
  END IF;
  looked := pg_current_snapshot();
  named := collect_named(s.repository, before);
  PERFORM set_config('lock_timeout', '100ms', true);
  UPDATE repository r SET gc_epoch = r.gc_epoch + 1 WHERE r.no = s.repository AND EXISTS (
      SELECT FROM pack p WHERE p.repository = s.repository AND p.state = 'condemned') RETURNING r.gc_epoch INTO next_epoch;
  IF next_epoch IS NULL THEN
    RETURN QUERY SELECT 0::bigint, 0::bigint, 0::bigint, 0::bigint;
    RETURN;
  END IF;
  PERFORM collect_may(s.repository);
  PERFORM pg_advisory_xact_lock(hashtextextended('holdfast.flip', s.repository));
  SELECT coalesce(min(x.base_epoch), 9223372036854775807) INTO floor_epoch FROM session x JOIN job j ON j.id = x.job
    WHERE x.repository = s.repository AND x.state = 'open' AND (x.writes OR j.kind NOT IN ('prune', 'retention'));
  SELECT array_agg(x.no) INTO nos FROM (SELECT p.no FROM pack p WHERE p.repository = s.repository AND p.state = 'condemned'
      AND p.condemned_epoch <= floor_epoch ORDER BY p.condemned_epoch, p.no
      LIMIT least(p_most, setting_of('collect_flip')::int, 10000)) x;
  named := named || collect_named(s.repository, looked);
  UPDATE pack p SET state = 'live', condemned_epoch = NULL WHERE p.no = ANY (named) AND p.state = 'condemned';
  GET DIAGNOSTICS pardoned = ROW_COUNT;
  WITH moved AS (UPDATE pack p SET state = 'deleting', condemned_epoch = next_epoch
      WHERE p.no = ANY (array(SELECT unnest(nos) EXCEPT SELECT unnest(named))) AND p.state = 'condemned' RETURNING p.bytes)
    SELECT count(*), coalesce(sum(m.bytes), 0)::bigint INTO flipped, bytes FROM moved m;
  UPDATE collection c SET seen = looked WHERE c.job = p_job AND c.attempt = p_attempt;
  SELECT count(*) INTO spared FROM pack p WHERE p.repository = s.repository AND p.state = 'condemned' AND p.condemned_epoch > floor_epoch;
  RETURN NEXT;
END $$;

DROP FUNCTION collect_dead(bigint, bigint, uuid, bigint, int);
CREATE FUNCTION collect_dead(p_job bigint, p_attempt bigint, p_claim uuid, p_after bigint, p_most int)
  RETURNS TABLE (no bigint, object uuid, bytes bigint, again boolean, damaged boolean)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
BEGIN
  PERFORM collect_may(s.repository);
  RETURN QUERY SELECT p.no, p.object, coalesce(p.bytes, 0), p.state = 'deleted', p.damaged_at IS NOT NULL FROM pack p JOIN repository r ON r.no = p.repository
    WHERE p.repository = s.repository AND p.no > p_after
      AND (p.state = 'deleting' AND p.condemned_epoch <= r.confirmed_epoch OR p.state = 'deleted' AND p.again_at <= clock_timestamp())
    ORDER BY p.no LIMIT p_most;
END $$;
REVOKE ALL ON FUNCTION collect_dead FROM PUBLIC;
GRANT EXECUTE ON FUNCTION collect_dead TO holdfast_pruner;
