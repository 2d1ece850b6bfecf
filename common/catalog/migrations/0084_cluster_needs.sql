-- A whole cluster and its log are read over the replication protocol: only a logical backup needs the server's own pg_dump.
CREATE OR REPLACE FUNCTION job_missing_one(j job, facts jsonb, reader boolean) RETURNS text LANGUAGE plpgsql STABLE
  SET search_path = holdfast, pg_temp AS $$
DECLARE
  s source;
  r repository;
  st store;
  lacks text[] := '{}';
  probe text := coalesce(j.params ->> 'probe', '');
  reads boolean;
  repacks boolean := j.kind = 'prune' AND (j.params @> '{"repack": true}' OR j.params @> '{"reencrypt": true}');
BEGIN
  SELECT * INTO s FROM source WHERE no = j.source;
  SELECT * INTO r FROM repository WHERE no = CASE WHEN j.kind = 'backup' THEN s.repository ELSE j.repository END;
  SELECT * INTO st FROM store WHERE name = r.store;
  IF facts ? 'orders' AND NOT facts -> 'orders' @> '1' THEN -- what job_order writes as v
    lacks := lacks || format('order version 1 (it reads %s)', facts ->> 'orders');
  END IF;
  IF j.kind IN ('backup', 'restore') OR probe = 'source_test' THEN
    IF facts ? 'engines' AND s.type IS NOT NULL AND NOT facts -> 'engines' ? s.type THEN
      lacks := lacks || format('engine %s', s.type);
    END IF;
  END IF;
  IF j.kind = 'backup' AND s.type = 'postgresql' AND coalesce(s.spec #>> '{config,method}', 'logical') = 'logical'
     AND facts #> '{tools,pg_dump}' IS NOT NULL AND NOT EXISTS (
       SELECT FROM jsonb_array_elements_text(facts #> '{tools,pg_dump}') t WHERE substring(t FROM '^[0-9]{1,4}')::int >= coalesce(s.server_major, 0)) THEN
    lacks := lacks || format('pg_dump %sor newer (it has %s)', s.server_major || ' ',
      coalesce((SELECT string_agg(t, ', ') FROM jsonb_array_elements_text(facts #> '{tools,pg_dump}') t), 'none'));
  END IF;
  IF r.no IS NOT NULL THEN
    IF facts ? 'stores' AND NOT facts -> 'stores' ? r.store THEN
      lacks := lacks || format('store %s', r.store);
    END IF;
    IF r.key_set <> '' AND facts ? 'key_sets' AND NOT facts -> 'key_sets' ? r.key_set THEN
      lacks := lacks || format('key set %s', r.key_set);
    END IF;
    reads := j.kind IN ('restore', 'rebuild') OR (j.kind = 'verify' AND j.params ->> 'level' IS DISTINCT FROM 'stored')
             OR probe IN ('backup_files', 'restore_plan', 'restore_grant');
    IF j.params ? 'grant' THEN
      reads := false;
      IF NOT EXISTS (SELECT FROM restore_grant g WHERE g.id::text = j.params ->> 'grant' AND g.certificate = facts #>> ARRAY['certificates', r.key_set]) THEN
        lacks := lacks || format('the key of %s that the grant is bound to', r.key_set);
      END IF;
    END IF;
    IF r.key_set <> '' AND reads AND NOT (reader AND coalesce(facts -> 'roles' ? 'read', false)) THEN
      lacks := lacks || format('reader key of %s', r.key_set);
    END IF;
    IF r.key_set <> '' AND j.kind = 'backup' AND NOT coalesce(facts -> 'roles' ? 'write', false) THEN
      lacks := lacks || format('writer key of %s', r.key_set);
    END IF;
    IF j.kind IN ('prune', 'retention') AND NOT coalesce(facts -> 'roles' ? 'prune', false) THEN
      lacks := lacks || 'prune credential'::text;
    END IF;
    IF repacks AND r.key_set <> '' AND NOT coalesce(facts -> 'roles' ? 'read', false) THEN
      lacks := lacks || format('reader key of %s', r.key_set);
    END IF;
    IF repacks AND r.key_set <> '' AND NOT coalesce(facts -> 'roles' ? 'write', false) THEN
      lacks := lacks || format('writer key of %s', r.key_set);
    END IF;
    IF repacks AND NOT reader THEN
      lacks := lacks || 'reader login (enroll it with --reader)'::text;
    END IF;
  END IF;
  IF j.kind IN ('prune', 'retention') AND facts -> 'pruner' = 'false' THEN
    lacks := lacks || 'prune login (enroll it with --prune)'::text;
  END IF;
  IF facts ? 'credentials' THEN
    lacks := lacks || array(
      SELECT format('credential %s', c) FROM credentials_in(
        CASE WHEN j.kind = 'backup' OR probe = 'source_test' THEN coalesce(s.spec -> 'config', '{}') ELSE j.params END) c
      WHERE NOT facts -> 'credentials' ? c);
    IF r.no IS NOT NULL THEN
      lacks := lacks || array(
        SELECT format('credential %s', c) FROM credentials_in(
          CASE WHEN j.kind IN ('prune', 'retention') AND NOT repacks THEN
                 st.config - CASE WHEN st.config ? 'prune_access_key' THEN 'access_key' ELSE '' END
                           - CASE WHEN st.config ? 'prune_secret_key' THEN 'secret_key' ELSE '' END
               WHEN j.kind = 'prune' THEN st.config
               ELSE st.config - 'prune_access_key' - 'prune_secret_key' END) c
        WHERE NOT facts -> 'credentials' ? c);
    END IF;
  END IF;
  RETURN CASE WHEN cardinality(lacks) > 0 THEN left('lacks ' || array_to_string(lacks, ', '), 240) END;
END $$;
