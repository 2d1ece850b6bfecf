-- An object in quarantine lies in the folder of its kind there, under its own name and number: a local store makes no
-- folder for each.
CREATE OR REPLACE FUNCTION orphan_place(p_no bigint, p_name text) RETURNS text LANGUAGE sql IMMUTABLE SET search_path = holdfast, pg_temp AS $$
  SELECT 'quarantine/' || p_name || '.' || p_no $$;

-- As before; what is accounted for by now is asked about in one go.
CREATE OR REPLACE FUNCTION orphan_listed(p_job bigint, p_attempt bigint, p_claim uuid, p_epoch bigint, p_listed bigint)
  RETURNS TABLE (fresh bigint, known bigint, strangers bigint, blocked text)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
#variable_conflict use_column
DECLARE
  s session := fence_prune(p_job, p_attempt, p_claim);
  since timestamptz;
  told boolean;
  place text;
  names text[];
  nos bigint[];
BEGIN
  PERFORM need_values(num_nulls(p_listed), 'orphan_listed');
  DELETE FROM orphan o WHERE o.repository = s.repository AND o.state = 'seen' AND o.scan <> p_job;
  SELECT array_agg(o.name ORDER BY o.no), array_agg(o.no ORDER BY o.no) INTO names, nos
    FROM orphan o WHERE o.repository = s.repository AND o.state = 'seen';
  DELETE FROM orphan o WHERE o.no IN (SELECT x.no FROM unnest(nos) WITH ORDINALITY AS x(no, n)
    WHERE x.n NOT IN (SELECT j.n FROM orphan_judge(s.repository, names) j));
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
