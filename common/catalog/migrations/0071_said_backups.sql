-- A manifest without a marker is what a dead attempt left, or a backup whose COMMIT the catalogue lost with its tail before the
-- marker was written. Each attempt says the name of its backup before it writes anything under it: a manifest of which
-- nobody said so is moved by no scan before a merge has looked at it, and while it is there nothing else is moved.
ALTER TABLE session ADD COLUMN backup uuid;                            -- what it makes, committed or not
CREATE INDEX session_of_backup ON session(backup) WHERE backup IS NOT NULL;
ALTER TABLE repository ADD COLUMN merge_begun_at timestamptz, ADD COLUMN merged_at timestamptz; -- when the last whole one began

CREATE FUNCTION backup_begin(p_job bigint, p_attempt bigint, p_claim uuid, p_backup uuid) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  s session;
BEGIN
  PERFORM need_values(num_nulls(p_backup), 'backup_begin');
  PERFORM fence_job(p_job, p_attempt, p_claim, true);
  s := fence_session(p_job, p_attempt);
  IF NOT s.writes THEN
    RAISE EXCEPTION 'job % reads only', p_job USING ERRCODE = 'HF005', DETAIL = 'job.reads_only';
  END IF;
  UPDATE session x SET backup = p_backup WHERE x.job = p_job AND x.attempt = p_attempt AND x.repository = s.repository;
END $$;

-- A manifest that no row explains: no attempt said it, it is no copy of a known backup, and no merge looked at it.
CREATE FUNCTION orphan_unsaid(o orphan) RETURNS boolean LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT o.kind = 'manifest' AND o.why = 'unknown' AND NOT EXISTS (SELECT FROM orphan_named(o.name) k
      WHERE EXISTS (SELECT FROM session s WHERE s.backup = k.id AND s.repository = o.repository) OR EXISTS (SELECT FROM backup b WHERE b.id = k.id))
    AND o.first_seen > (SELECT coalesce(r.merged_at, '-infinity') FROM repository r WHERE r.no = o.repository) $$;

CREATE OR REPLACE FUNCTION orphan_block(p_repository int, p_epoch bigint) RETURNS text LANGUAGE plpgsql STABLE SET search_path = holdfast, pg_temp AS $$
DECLARE
  r repository;
  strangers bigint;
  unsaid bigint;
BEGIN
  SELECT * INTO r FROM repository x WHERE x.no = p_repository;
  SELECT count(*) INTO strangers FROM orphan o WHERE o.repository = p_repository AND o.state = 'seen' AND o.kind = 'marker' AND o.why = 'unknown';
  SELECT count(*) INTO unsaid FROM orphan o WHERE o.repository = p_repository AND o.state = 'seen' AND o.kind = 'manifest' AND orphan_unsaid(o)
    AND o.last_seen - o.first_seen >= make_interval(secs => setting_of('orphan_age_s'));
  RETURN CASE
    WHEN r.rolled_back THEN 'the store or the catalogue was set back to an earlier day: holdfast catalogue merge'
    WHEN strangers > 0 THEN format('the store has the markers of %s backups that the catalogue does not know: holdfast catalogue merge', strangers)
    WHEN unsaid > 0 THEN format('the store has %s manifests that no attempt of this catalogue announced: holdfast catalogue merge', unsaid)
    WHEN r.frozen_at IS NOT NULL THEN format('the repository is frozen since %s: %s: holdfast retention resume', r.frozen_at, coalesce(r.frozen_reason, ''))
    WHEN p_epoch IS DISTINCT FROM r.confirmed_epoch THEN
      format('the epoch in the store is %s, the confirmed one is %s: the next run of the collector brings it', coalesce(p_epoch::text, 'not readable'), r.confirmed_epoch)
    END;
END $$;

CREATE OR REPLACE FUNCTION orphan_ripe(o orphan, p_job bigint) RETURNS boolean LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT o.state IN ('seen', 'moving') AND o.why IN ('unknown', 'left_over') AND (o.state = 'moving' OR o.scan = p_job AND o.scans > 1)
    AND NOT (o.kind = 'marker' AND o.why = 'unknown') AND NOT (o.kind = 'manifest' AND orphan_unsaid(o))
    AND o.last_seen - o.first_seen >= make_interval(secs => setting_of('orphan_age_s'))
    AND coalesce(o.retry_at, '-infinity') <= clock_timestamp()
    AND o.epoch <= (SELECT r.gc_epoch FROM repository r WHERE r.no = o.repository)
    AND (o.kind = 'manifest' OR NOT EXISTS (SELECT FROM orphan m
      WHERE m.repository = o.repository AND m.state IN ('seen', 'moving') AND m.kind = 'manifest' AND m.why = 'unknown'))
    AND NOT EXISTS (SELECT FROM session x JOIN job_attempt a ON a.job = x.job AND a.attempt = x.attempt JOIN job j ON j.id = x.job
      WHERE x.repository = o.repository AND x.state = 'open' AND x.job <> p_job
        AND (a.started_at <= o.first_seen OR j.kind = 'copy' AND o.kind IN ('manifest', 'parents'))) $$;

CREATE OR REPLACE FUNCTION rebuild_begin(p_job bigint, p_attempt bigint, p_claim uuid, p_store text, p_key_set text, p_config jsonb, p_id uuid,
    p_what text) RETURNS TABLE (repository int, store text, known bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  r repository;
  number int;
BEGIN
  PERFORM need_values(num_nulls(p_job, p_id, p_what), 'rebuild_begin');
  IF p_job = 0 THEN
    PERFORM rebuild_fence(0, 0, NULL, 0);
    SELECT x.no INTO number FROM repository x WHERE x.id = p_id;
    IF number IS NULL THEN
      INSERT INTO store(name, config) VALUES (p_store, p_config) ON CONFLICT (name) DO NOTHING;
      INSERT INTO repository(store, key_set) VALUES (p_store, p_key_set) ON CONFLICT (store, key_set) DO NOTHING;
      SELECT x.no INTO number FROM repository x WHERE x.store = p_store AND x.key_set = p_key_set;
    END IF;
  ELSE
    number := rebuild_fence(p_job, p_attempt, p_claim, 0);
  END IF;
  UPDATE repository x SET id = p_id WHERE x.no = number AND x.id IS NULL;
  UPDATE repository x SET merge_begun_at = clock_timestamp() WHERE x.no = number AND x.id = p_id;
  SELECT * INTO r FROM repository x WHERE x.no = number;
  IF r.id IS DISTINCT FROM p_id THEN
    RAISE EXCEPTION 'store % holds repository %, the catalogue knows % there: name the store that it really is', r.store, p_id, r.id
      USING ERRCODE = 'HF003', DETAIL = 'repo.other_id';
  END IF;
  PERFORM repository_freeze(r.no, format('catalogue %s: look what came back, then holdfast retention resume', p_what));
  RETURN QUERY SELECT r.no, r.store, (SELECT count(*) FROM backup b WHERE b.repository = r.no);
END $$;

CREATE OR REPLACE FUNCTION rebuild_done(p_job bigint, p_attempt bigint, p_claim uuid, p_repository int, p_epoch bigint, p_what text, p_report jsonb)
  RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  repo int := rebuild_fence(p_job, p_attempt, p_claim, p_repository);
  r repository;
BEGIN
  PERFORM need_values(num_nulls(p_epoch, p_what, p_report), 'rebuild_done');
  UPDATE repository SET confirmed_epoch = p_epoch, rolled_back = false, set_back_at = NULL, set_back_epoch = NULL, merged_at = merge_begun_at,
      gc_epoch = CASE WHEN gc_epoch = 0 AND NOT EXISTS (SELECT FROM backup b WHERE b.repository = repo AND b.origin = 'commit') THEN p_epoch
                      WHEN gc_epoch = p_epoch AND NOT rolled_back THEN gc_epoch
                      ELSE greatest(gc_epoch, p_epoch) + 1 END
    WHERE no = repo RETURNING * INTO r;
  INSERT INTO audit_event(actor, actor_kind, via, action, object, result, detail)
    SELECT coalesce((SELECT j.actor FROM job j WHERE j.id = p_job), session_user), CASE WHEN p_job = 0 THEN 'user' ELSE 'worker' END, 'worker',
      'catalogue.' || p_what, r.store || '/' || r.key_set, 'ok', p_report;
  INSERT INTO event(kind, job, data) VALUES ('alert', nullif(p_job, 0),
    jsonb_build_object('code', 'repo.frozen', 'repository', repo, 'text', r.frozen_reason));
  RETURN r.gc_epoch;
END $$;
REVOKE ALL ON FUNCTION backup_begin, orphan_unsaid FROM PUBLIC;
GRANT EXECUTE ON FUNCTION backup_begin TO holdfast_worker;
GRANT EXECUTE ON FUNCTION orphan_unsaid TO holdfast_scheduler;
