-- What may run at once in the whole fleet. Besides pools and policies these have limits: the host that is
-- read (host:), the store that is written to (store:), and budgets over labels (budget:). A limit is rows of
-- limit_slot, so that no bug exceeds it. A rate is cut into as many equal shares as may run at once, and a
-- run is given the least of its shares and its policy's own rate: together they never exceed it. What runs
-- keeps its share to its end, also when the policy changes. An emergency counts nowhere and waits for none.
INSERT INTO setting VALUES
  ('rate_shares', 8, 'count: a rate without a number of runs is cut into so many shares, and so many run at once');
ALTER TABLE limit_wanted ADD COLUMN rate bigint CHECK (rate > 0);     -- bytes a second, of all its slots together
ALTER TABLE decision ADD COLUMN measured jsonb;                      -- what was counted, and the limit
ALTER TABLE source
  ADD COLUMN scopes text[] NOT NULL DEFAULT '{}',                    -- limits its backups count in, besides the pool's
  ADD COLUMN server_major int,                                       -- of the server that its newest backup read
  ADD COLUMN need text NOT NULL DEFAULT '';                          -- equal: whoever backs up the one can do the other
CREATE INDEX job_pending_urgent ON job(pool) WHERE state = 'pending' AND priority >= 50;

CREATE FUNCTION source_needs() RETURNS trigger LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
BEGIN
  NEW.need := md5(concat_ws('|', NEW.type, NEW.repository, NEW.pool, NEW.server_major,
    (SELECT string_agg(c, ',' ORDER BY c COLLATE "C") FROM credentials_in(coalesce(NEW.spec -> 'config', '{}')) c)));
  RETURN NEW;
END $$;
CREATE TRIGGER source_needs BEFORE INSERT OR UPDATE OF type, repository, pool, server_major, spec ON source
  FOR EACH ROW EXECUTE FUNCTION source_needs();

CREATE FUNCTION backup_read_server() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  major int := substring(NEW.receipt ->> 'server_version' FROM '^[0-9]{1,4}')::int;
BEGIN
  UPDATE source SET server_major = major WHERE no = NEW.source AND server_major IS DISTINCT FROM major;
  RETURN NULL;
END $$;
CREATE TRIGGER backup_read_server AFTER INSERT ON backup FOR EACH ROW WHEN (NEW.receipt ? 'server_version')
  EXECUTE FUNCTION backup_read_server();

-- The limits that a policy asks for, beside those of pools and policies.
CREATE FUNCTION limits_of(p_document jsonb) RETURNS TABLE (scope text, n int, rate bigint) LANGUAGE sql STABLE
  SET search_path = holdfast, pg_temp AS $$
  SELECT 'host:' || (s.spec ->> 'reads'), min((s.spec ->> 'per_host')::int), NULL::bigint FROM source s
    WHERE s.retired_at IS NULL AND s.spec ? 'per_host' AND s.spec ? 'reads' GROUP BY 1
  UNION ALL
  SELECT 'store:' || e.key, coalesce((e.value ->> 'max_uploads')::int, setting_of('rate_shares')::int), (e.value ->> 'max_rate')::bigint
    FROM jsonb_each(coalesce(p_document -> 'stores', '{}')) e WHERE e.value ?| ARRAY['max_uploads', 'max_rate']
  UNION ALL
  SELECT 'budget:' || e.key, coalesce((e.value ->> 'concurrent')::int, setting_of('rate_shares')::int), (e.value ->> 'rate')::bigint
    FROM jsonb_each(coalesce(p_document -> 'budgets', '{}')) e $$;

CREATE FUNCTION limits_apply(p_document jsonb) RETURNS void LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
BEGIN
  PERFORM limit_resize(w.scope, NULL) FROM limit_wanted w
    WHERE w.scope ~ '^(host|store|budget):' AND w.scope NOT IN (SELECT x.scope FROM limits_of(p_document) x);
  PERFORM limit_resize(x.scope, greatest(x.n, 1)) FROM limits_of(p_document) x;
  UPDATE limit_wanted w SET rate = x.rate FROM limits_of(p_document) x WHERE w.scope = x.scope AND w.rate IS DISTINCT FROM x.rate;
  UPDATE source s SET scopes = y.scopes FROM (
    SELECT o.no, ARRAY(
      SELECT w.scope FROM limit_wanted w WHERE w.scope IN ('policy:' || o.policy, 'host:' || (o.spec ->> 'reads'), 'store:' || (o.spec ->> 'store'))
      UNION SELECT w.scope FROM jsonb_each(coalesce(p_document -> 'budgets', '{}')) b JOIN limit_wanted w ON w.scope = 'budget:' || b.key
        WHERE o.labels @> (b.value -> 'labels')) AS scopes
    FROM source o) y WHERE y.no = s.no AND y.scopes IS DISTINCT FROM s.scopes;
END $$;

CREATE FUNCTION policy_limits() RETURNS trigger LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
BEGIN
  PERFORM limits_apply(NEW.document::jsonb);
  RETURN NULL;
END $$;
CREATE TRIGGER policy_limits AFTER INSERT ON policy_version FOR EACH ROW EXECUTE FUNCTION policy_limits();

UPDATE source s SET server_major = (SELECT substring(b.receipt ->> 'server_version' FROM '^[0-9]{1,4}')::int FROM backup b
  WHERE b.source = s.no ORDER BY b.committed_at DESC LIMIT 1);
SELECT limits_apply((SELECT document FROM policy_version ORDER BY no DESC LIMIT 1)::jsonb);

CREATE OR REPLACE FUNCTION job_scopes(j job) RETURNS text[] LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT coalesce(array_agg(x.scope ORDER BY x.scope COLLATE "C"), '{}') FROM (
    SELECT 'pool:' || p.name AS scope FROM pool p WHERE p.no = j.pool
    UNION SELECT unnest(s.scopes) FROM source s WHERE s.no = j.source AND j.kind = 'backup') x
  WHERE j.trigger <> 'emergency' AND EXISTS (SELECT FROM limit_slot l WHERE l.scope = x.scope) $$;

-- The rate of a run that was granted: bytes a second, 0 for none.
CREATE FUNCTION job_rate(j job, p_own bigint) RETURNS bigint LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT coalesce(min(x.rate), 0) FROM (
    SELECT nullif(p_own, 0) AS rate
    UNION ALL SELECT greatest(w.rate / w.n, 1) FROM limit_slot l JOIN limit_wanted w ON w.scope = l.scope
      WHERE l.job = j.id AND w.rate IS NOT NULL) x $$;

CREATE OR REPLACE FUNCTION job_order(j job) RETURNS jsonb LANGUAGE plpgsql STABLE SET search_path = holdfast, pg_temp AS $$
DECLARE
  s source;
  r repository;
  st store;
  parent backup;
  last_one backup;
BEGIN
  SELECT * INTO s FROM source WHERE no = j.source;
  SELECT * INTO r FROM repository WHERE no = j.repository;
  SELECT * INTO st FROM store WHERE name = r.store;
  SELECT * INTO parent FROM backup b WHERE b.source = j.source AND b.repository = j.repository ORDER BY sequence DESC LIMIT 1;
  SELECT * INTO last_one FROM backup b WHERE b.source = j.source ORDER BY committed_at DESC LIMIT 1;
  RETURN jsonb_build_object('v', 1, 'job', j.id, 'attempt', j.attempt, 'kind', j.kind, 'trigger', j.trigger,
    'lease_s', setting_of('lease_s'), 'beat_s', setting_of('beat_s'),
    'source', CASE WHEN s.no IS NOT NULL THEN
       jsonb_build_object('no', s.no, 'name', s.name, 'type', s.type, 'config', coalesce(s.spec -> 'config', '{}')) END,
    'policy', jsonb_build_object('name', s.policy, 'timeout_s', s.spec -> 'timeout_s', 'stall_s', s.spec -> 'stall_s',
       'rate', job_rate(j, coalesce((s.spec ->> 'rate')::bigint, 0)), 'dedup', coalesce(s.spec -> 'dedup', '"source"'),
       'compression', s.spec -> 'compression', 'allow_partial', s.spec -> 'allow_partial', 'hooks', s.spec -> 'hooks'),
    'repository', CASE WHEN r.no IS NOT NULL THEN
       jsonb_build_object('no', r.no, 'id', r.id, 'key_set', nullif(r.key_set, ''), 'base_epoch', r.gc_epoch,
         'store', jsonb_build_object('name', st.name) || st.config) END,
    'parent', CASE WHEN j.kind = 'backup' AND parent.id IS NOT NULL THEN
       jsonb_build_object('backup', parent.id, 'sequence', parent.sequence,
         'manifest_sha256', encode(parent.manifest_sha256, 'hex')) END,
    'last', CASE WHEN last_one.id IS NOT NULL THEN
       jsonb_build_object('bytes', last_one.bytes, 'stored', last_one.stored_bytes,
         'seconds', round(extract(epoch FROM last_one.committed_at - last_one.started_at))) END,
    'params', j.params);
END $$;

-- --- what is said of a limit ---------------------------------------------------------------------

CREATE FUNCTION clock_words(t timestamptz) RETURNS text LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT to_char(t AT TIME ZONE 'UTC', CASE WHEN t > clock_timestamp() - interval '20 hours' THEN 'HH24:MI"Z"' ELSE 'YYYY-MM-DD HH24:MI"Z"' END) $$;

-- p_tickets: so many more may begin at any moment.
CREATE FUNCTION limit_measure(p_scope text, p_tickets int) RETURNS jsonb LANGUAGE sql STABLE SET search_path = holdfast, pg_temp AS $$
  SELECT jsonb_build_object('scope', p_scope, 'limit', coalesce((SELECT n FROM limit_wanted WHERE scope = p_scope), count(*)),
    'running', count(l.job), 'tickets', p_tickets, 'since', rfc3339(min(a.started_at)),
    'jobs', coalesce((jsonb_agg(job_text(l.job) ORDER BY a.started_at, l.job) FILTER (WHERE l.job IS NOT NULL)), '[]'),
    'text', format('%s of %s jobs of %s run%s%s', count(l.job), coalesce((SELECT n FROM limit_wanted WHERE scope = p_scope), count(*)),
      replace(p_scope, ':', ' '),
      CASE WHEN count(l.job) > 0 THEN format(' since %s: %s', clock_words(min(a.started_at)),
        array_to_string((array_agg(job_text(l.job) ORDER BY a.started_at, l.job) FILTER (WHERE l.job IS NOT NULL))[1:5], ', ')
        || CASE WHEN count(l.job) > 5 THEN ', …' ELSE '' END) ELSE '' END,
      CASE WHEN p_tickets > 0 THEN format(', %s more are about to', p_tickets) ELSE '' END))
  FROM limit_slot l LEFT JOIN job_attempt a ON a.job = l.job AND a.attempt = l.attempt WHERE l.scope = p_scope $$;

CREATE OR REPLACE FUNCTION job_defer(j job, p_code text, p_text text) RETURNS void LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
  least_s double precision := setting_of('defer_min_s');
  most_s double precision := greatest(setting_of('defer_max_s'), setting_of('defer_min_s'));
  full_scope text;
  found_so jsonb;
BEGIN
  UPDATE job SET state = 'pending', queued_at = NULL, dispatch = dispatch + 1, deferrals = deferrals + 1,
    run_at = clock_timestamp() + make_interval(secs => least_s + random() * (most_s - least_s)) WHERE id = j.id;
  IF p_code = 'limit.full' THEN
    SELECT x INTO full_scope FROM unnest(job_scopes(j)) WITH ORDINALITY AS u(x, n)
      WHERE NOT EXISTS (SELECT FROM limit_slot l WHERE l.scope = x AND l.job IS NULL) ORDER BY n LIMIT 1;
    found_so := limit_measure(full_scope, 0); -- of none: somebody let go of it meanwhile
  END IF;
  PERFORM decide(j, 'deferred', p_code, coalesce(found_so ->> 'text', p_text));
  UPDATE decision SET measured = found_so - 'text' WHERE job = j.id AND code = p_code;
END $$;

GRANT EXECUTE ON FUNCTION source_needs, limits_of, limits_apply, policy_limits, job_rate, clock_words, limit_measure TO holdfast_scheduler;
