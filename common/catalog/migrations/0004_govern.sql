-- Who asked for what: audit events and their chain, tokens, idempotency keys.

-- Inserted with no seq, so that nobody waits; one chainer numbers and links a moment later.
CREATE TABLE audit_event (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  seq        bigint UNIQUE,                                      -- gapless: given under the chain's lock
  at         timestamptz NOT NULL DEFAULT clock_timestamp(),
  actor      text NOT NULL,
  actor_kind text NOT NULL CHECK (actor_kind IN ('user','token','worker','system')),
  via        text NOT NULL,
  client_ip  inet,
  action     text NOT NULL,
  object     text NOT NULL,
  reason     text,
  result     text NOT NULL,
  detail     jsonb NOT NULL DEFAULT '{}',
  prev_hash  bytea,
  hash       bytea,
  CHECK ((seq IS NULL) = (hash IS NULL)));
CREATE INDEX audit_event_unchained ON audit_event(id) WHERE seq IS NULL;

-- Heads that were also kept elsewhere: the only proof against a cut tail.
CREATE TABLE audit_anchor (
  at        timestamptz PRIMARY KEY DEFAULT clock_timestamp(),
  seq       bigint NOT NULL,
  hash      bytea NOT NULL,
  copied_to text NOT NULL);

-- A JSON array, not joined text: nulls keep their place and no text can imitate a border.
CREATE FUNCTION audit_digest(e audit_event, previous bytea) RETURNS bytea LANGUAGE sql IMMUTABLE
  SET search_path = holdfast, pg_temp AS $$
  SELECT sha256(previous || convert_to(jsonb_build_array(e.seq, (extract(epoch FROM e.at) * 1000000)::bigint, e.actor, e.actor_kind,
           e.via, host(e.client_ip), e.action, e.object, e.reason, e.result, e.detail)::text, 'UTF8')) $$;

CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
BEGIN
  IF TG_OP = 'UPDATE' THEN
    IF OLD.seq IS NULL AND NEW.seq IS NOT NULL
       AND (OLD.id, OLD.at, OLD.actor, OLD.actor_kind, OLD.via, OLD.client_ip, OLD.action, OLD.object, OLD.reason, OLD.result, OLD.detail)
           IS NOT DISTINCT FROM
           (NEW.id, NEW.at, NEW.actor, NEW.actor_kind, NEW.via, NEW.client_ip, NEW.action, NEW.object, NEW.reason, NEW.result, NEW.detail) THEN
      RETURN NEW; -- the chainer links it, once
    END IF;
  END IF;
  RAISE EXCEPTION 'audit_event is append-only' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON audit_event FOR EACH ROW EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit_event FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();

CREATE FUNCTION audit_chain(p_most int) RETURNS int LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
  e audit_event;
  head_seq bigint;
  head_hash bytea;
  linked int := 0;
BEGIN
  IF NOT pg_try_advisory_xact_lock(hashtext('holdfast.audit_chain')) THEN
    RETURN 0; -- another scheduler is at it: a chain has one end
  END IF;
  SELECT seq, hash INTO head_seq, head_hash FROM audit_event WHERE seq IS NOT NULL ORDER BY seq DESC LIMIT 1;
  FOR e IN SELECT * FROM audit_event WHERE seq IS NULL ORDER BY id LIMIT p_most LOOP
    e.seq := coalesce(head_seq, 0) + 1;
    e.prev_hash := coalesce(head_hash, '\x'::bytea);
    e.hash := audit_digest(e, e.prev_hash);
    UPDATE audit_event SET seq = e.seq, prev_hash = e.prev_hash, hash = e.hash WHERE id = e.id;
    head_seq := e.seq;
    head_hash := e.hash;
    linked := linked + 1;
  END LOOP;
  RETURN linked;
END $$;

CREATE VIEW audit_breaks AS
  SELECT * FROM (SELECT e.seq, e.at, e.action,
      CASE WHEN e.prev_hash IS DISTINCT FROM coalesce(lag(e.hash) OVER w, '\x'::bytea) THEN 'LINK BROKEN'
           WHEN e.hash IS DISTINCT FROM audit_digest(e, e.prev_hash) THEN 'CONTENT CHANGED'
           WHEN e.seq IS DISTINCT FROM coalesce(lag(e.seq) OVER w, 0) + 1 THEN 'NUMBER MISSING BEFORE' END AS finding
    FROM audit_event e WHERE e.seq IS NOT NULL WINDOW w AS (ORDER BY e.seq)) x
  WHERE finding IS NOT NULL
  UNION ALL
  SELECT a.seq, a.at, 'anchor in ' || a.copied_to, 'CUT OR REWRITTEN AFTER ANCHOR' FROM audit_anchor a
  WHERE NOT EXISTS (SELECT FROM audit_event e WHERE e.seq = a.seq AND e.hash = a.hash);

CREATE TABLE token (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name       text NOT NULL CHECK (name <> ''),
  role       text NOT NULL CHECK (role IN ('viewer','operator','restorer','auditor','admin')),
  hash       bytea NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  created_by text NOT NULL,
  expires_at timestamptz NOT NULL,
  used_at    timestamptz,
  revoked_at timestamptz);
CREATE UNIQUE INDEX token_one_live_name ON token(name) WHERE revoked_at IS NULL;

CREATE TABLE idempotency (
  actor      text NOT NULL,
  key        text NOT NULL,
  request    bytea NOT NULL CHECK (octet_length(request) = 32),
  status     int,                                                -- NULL: still at it
  body       text,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (actor, key));
