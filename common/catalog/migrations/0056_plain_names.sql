-- Plain copies of several sources in one store: whose latest is whose, which names an attempt ever had on its way, and a
-- run of the pruner once a day that gives up what nobody completes.
ALTER TABLE plain_copy
  ADD COLUMN latest text,                                            -- the name that means the newest; NULL: none, or not told yet
  ADD COLUMN tried  text[] NOT NULL DEFAULT '{}';                    -- every name that an attempt has begun to write
UPDATE plain_copy SET tried = ARRAY[name];

CREATE OR REPLACE FUNCTION plain_order(j job) RETURNS jsonb LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT jsonb_build_object('store', jsonb_build_object('name', st.name) || st.config, 'name', c.rule -> 'name', 'latest', c.rule -> 'latest',
    'holds', c.rule -> 'holds', 'meta', coalesce(c.rule -> 'meta', 'true'), 'backup', backup_text(b.id), 'parent', backup_text(b.parent), 'outcome', b.outcome,
    'schedule', b.schedule, 'policy', s.policy, 'type', s.type, 'source', s.name, 'timestamp', rfc3339(b.consistent_at),
    'time', to_char(b.consistent_at AT TIME ZONE coalesce(s.spec ->> 'timezone', 'UTC'), 'YYYYMMDDHH24MISS'),
    'key_set', nullif(b.key_set, ''), 'server_version', b.receipt -> 'server_version', 'tool_version', b.receipt -> 'tool_version')
  FROM backup b JOIN source s ON s.no = b.source CROSS JOIN LATERAL (SELECT plain_rule(b.source, j.params ->> 'plain') AS rule) c
    JOIN store st ON st.name = j.params ->> 'plain' WHERE b.id = j.backup $$;

-- Of those that one latest names: a copy of a weekly backup is no newer daily one.
CREATE OR REPLACE FUNCTION plain_newest(c plain_copy) RETURNS boolean LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT NOT EXISTS (SELECT FROM plain_copy x JOIN backup y ON y.id = x.backup JOIN backup b ON b.id = c.backup
    WHERE x.source = c.source AND x.store = c.store AND x.committed_at IS NOT NULL AND x.deleted_at IS NULL
      AND coalesce(x.latest, c.latest) IS NOT DISTINCT FROM c.latest AND (y.consistent_at, y.sequence) > (b.consistent_at, b.sequence)) $$;

-- The living source whose newest copies in a store have this latest; NULL: nobody's, or this one's.
CREATE FUNCTION plain_rival(p_source int, p_store text, p_latest text) RETURNS text LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT s.name FROM source s CROSS JOIN LATERAL (SELECT c.latest FROM plain_copy c WHERE c.source = s.no AND c.store = p_store AND c.deleted_at IS NULL
      ORDER BY c.no DESC LIMIT 1) n
    WHERE s.no <> p_source AND s.retired_at IS NULL AND n.latest = p_latest
      AND EXISTS (SELECT FROM plain_copy c WHERE c.source = s.no AND c.store = p_store AND c.deleted_at IS NULL) ORDER BY s.name LIMIT 1 $$;

DROP FUNCTION plain_stage(bigint, bigint, uuid, text, boolean, bigint, bytea);
-- As before; p_latest is the name that is to mean the newest (NULL: none). It belongs to one source of a store.
CREATE FUNCTION plain_stage(p_job bigint, p_attempt bigint, p_claim uuid, p_name text, p_latest text, p_meta boolean, p_bytes bigint, p_sha256 bytea)
  RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job := fence_plain(p_job, p_attempt, p_claim);
  at text := j.params ->> 'plain';
  rival text;
BEGIN
  PERFORM need_values(num_nulls(p_name, p_meta), 'plain_stage');
  IF position('/' IN p_name) > 0 AND EXISTS (SELECT FROM repository r WHERE r.store = at
      AND split_part(p_name, '/', 1) = CASE r.key_set WHEN '' THEN 'plain' ELSE r.key_set END) THEN
    RAISE EXCEPTION '% would lie among the objects of a repository: begin the name of the plain copies otherwise', p_name
      USING ERRCODE = 'HF003', DETAIL = 'plain.repository';
  END IF;
  PERFORM pg_advisory_xact_lock(hashtextextended('holdfast.plain ' || at, 0));
  rival := plain_rival(j.source, at, p_latest);
  IF rival IS NOT NULL THEN
    RAISE EXCEPTION '% in store % names the newest plain copy of the source % and would name that of % too: put {source} into latest, or into name, of the plain copies',
      p_latest, at, rival, (SELECT s.name FROM source s WHERE s.no = j.source) USING ERRCODE = 'HF003', DETAIL = 'plain.latest_taken';
  END IF;
  IF EXISTS (SELECT FROM plain_copy c WHERE c.store = at AND c.gone_at IS NULL AND (c.deleted_at IS NOT NULL OR c.backup <> j.backup)
      AND p_name IN (c.name, c.name || '.meta', c.latest, c.latest || '.meta')) THEN
    RETURN false;
  END IF;
  UPDATE plain_copy SET name = p_name, latest = p_latest, meta = p_meta, bytes = p_bytes, sha256 = p_sha256, job = p_job, attempt = p_attempt,
      staged_at = clock_timestamp(), tried = CASE WHEN p_name = ANY (tried) THEN tried ELSE tried || p_name END
    WHERE backup = j.backup AND store = at AND deleted_at IS NULL AND committed_at IS NULL;
  IF NOT FOUND THEN
    INSERT INTO plain_copy(backup, source, store, name, latest, meta, bytes, sha256, job, attempt, tried)
      VALUES (j.backup, j.source, at, p_name, p_latest, p_meta, p_bytes, p_sha256, p_job, p_attempt, ARRAY[p_name]);
  END IF;
  RETURN true;
END $$;

-- Was an upload to this name begun by a plain copy, one that no attempt writes now? Whatever else lies in the store is others'.
CREATE FUNCTION plain_left(p_job bigint, p_attempt bigint, p_claim uuid, p_name text) RETURNS boolean
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  j job := fence_job(p_job, p_attempt, p_claim, false);
  at text := j.params ->> 'plain';
BEGIN
  IF NOT (worker_me()).pruner OR j.kind IS DISTINCT FROM 'prune' OR NOT j.params ? 'plain' THEN
    RAISE EXCEPTION 'job % sweeps no plain copies', p_job USING ERRCODE = 'HF005', DETAIL = 'worker.no_pruner';
  END IF;
  RETURN EXISTS (SELECT FROM plain_copy c WHERE c.store = at AND p_name = ANY (c.tried || c.name))
    AND NOT EXISTS (SELECT FROM plain_copy c JOIN job o ON o.backup = c.backup AND o.kind = 'copy' AND o.params ->> 'plain' = at AND o.state = 'running'
      WHERE c.store = at AND p_name = ANY (c.tried || c.name));
END $$;

-- Once a day for each store with plain copies that a live pruner serves, as for repositories.
CREATE FUNCTION plain_prunes_fire() RETURNS bigint LANGUAGE sql SET search_path = holdfast, pg_temp AS $$
  SELECT count(plain_prune(x.store, 'scheduled', 'scheduler', NULL)) FROM (SELECT c.store FROM plain_copy c
      WHERE c.gone_at IS NULL OR c.gone_at > clock_timestamp() - interval '2 days' GROUP BY c.store) x
    WHERE NOT EXISTS (SELECT FROM job j WHERE j.kind = 'prune' AND j.params ->> 'plain' = x.store
        AND (j.finished_at IS NULL OR j.created_at > clock_timestamp() - make_interval(secs => setting_of('prune_every_s'))))
      AND EXISTS (SELECT FROM worker w JOIN worker_instance i ON i.worker = w.no AND i.bye_at IS NULL
        AND i.seen_at > clock_timestamp() - make_interval(secs => greatest(setting_of('lease_s'), setting_of('liveness_s')))
        WHERE w.retired_at IS NULL AND NOT w.drain AND w.pruner AND i.facts -> 'roles' ? 'prune'
          AND (NOT i.facts ? 'stores' OR i.facts -> 'stores' ? x.store)) $$;

ALTER FUNCTION prunes_fire() RENAME TO prunes_fire_repositories;
CREATE FUNCTION prunes_fire() RETURNS bigint LANGUAGE sql SET search_path = holdfast, pg_temp AS $$
  SELECT prunes_fire_repositories() + plain_prunes_fire() $$;

REVOKE ALL ON FUNCTION plain_rival, plain_stage, plain_left, plain_prunes_fire, prunes_fire FROM PUBLIC;
GRANT EXECUTE ON FUNCTION plain_stage, plain_left TO holdfast_worker;
GRANT EXECUTE ON FUNCTION plain_rival, plain_prunes_fire, prunes_fire TO holdfast_scheduler;
