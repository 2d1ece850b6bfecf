-- The job machine: jobs, leases, attempts, limits, what jobs say, and why they ran or did not.

-- The legal moves. A trigger holds every UPDATE of job.state to them; the same rows are
-- protocol/lifecycle.def, and a test compares the two.
CREATE TABLE lifecycle (
  from_state text NOT NULL,
  event      text NOT NULL,
  to_state   text NOT NULL,
  PRIMARY KEY (from_state, event, to_state));
INSERT INTO lifecycle VALUES
  ('pending', 'DISPATCH', 'queued'),
  ('queued', 'RECALL', 'pending'),
  ('pending', 'CLAIM', 'running'),
  ('queued', 'CLAIM', 'running'),
  ('queued', 'DEFER', 'pending'),
  ('pending', 'DEFER', 'pending'),
  ('running', 'COMMIT', 'completed'),
  ('running', 'COMMIT_PARTIAL', 'partial'),
  ('running', 'FAIL_RETRY', 'pending'),
  ('running', 'FAIL', 'failed'),
  ('running', 'LOSE', 'pending'),
  ('running', 'POISON', 'failed'),
  ('running', 'RELEASE', 'pending'),
  ('running', 'CANCEL', 'cancelled'),
  ('queued', 'CANCEL', 'cancelled'),
  ('pending', 'CANCEL', 'cancelled'),
  ('pending', 'SKIP', 'skipped'),
  ('queued', 'SKIP', 'skipped'),
  ('pending', 'MISS', 'missed'),
  ('queued', 'MISS', 'missed'),
  ('failed', 'REQUEUE', 'pending');

CREATE TABLE job (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind       text NOT NULL CHECK (kind IN ('backup','restore','verify','copy','prune','retention','rebuild','health','probe')),
  trigger    text NOT NULL CHECK (trigger IN ('scheduled','manual','retry','initial','emergency')),
  source     int REFERENCES source,
  schedule   text,
  slot       timestamptz,                                        -- nominal instant, never now()
  repository int REFERENCES repository,                          -- a backup's is written by its claim
  backup     uuid,                                               -- the one it reads
  params     jsonb NOT NULL DEFAULT '{}',
  actor      text NOT NULL,
  idempotency_key text,
  pool       int NOT NULL REFERENCES pool,
  lanes      smallint NOT NULL DEFAULT 0 CHECK (lanes BETWEEN 0 AND 3),   -- 1 data, 2 log
  priority   smallint NOT NULL DEFAULT 0 CHECK (priority BETWEEN -100 AND 100),
  state      text NOT NULL CHECK (state IN ('pending','queued','running','completed','partial','failed','cancelled','skipped','missed')),
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  run_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  start_by   timestamptz,
  queued_at  timestamptz,
  finished_at timestamptz,
  attempt    bigint NOT NULL DEFAULT 0,                          -- the fence is (attempt, claim): after a
  claim      uuid,                                               -- lost tail a number can be given twice
  dispatch   bigint NOT NULL DEFAULT 1,                          -- voids older tickets
  failures   int NOT NULL DEFAULT 0,
  max_failures int NOT NULL DEFAULT 3 CHECK (max_failures > 0),
  backoff_s  double precision NOT NULL DEFAULT 120,
  max_backoff_s double precision NOT NULL DEFAULT 1800,
  jitter     boolean NOT NULL DEFAULT true,
  losses     int NOT NULL DEFAULT 0,
  deferrals  int NOT NULL DEFAULT 0,
  cancel_requested boolean NOT NULL DEFAULT false,
  code       text, cause text, error text,                       -- of the newest failed attempt
  UNIQUE (source, schedule, slot),
  UNIQUE (actor, idempotency_key),
  CHECK ((schedule IS NULL) = (slot IS NULL)),
  CHECK ((state = 'running') = (claim IS NOT NULL)),
  CHECK ((state IN ('completed','partial','failed','cancelled','skipped','missed')) = (finished_at IS NOT NULL)));
-- One running job a source and lane; an in-place restore takes both lanes.
CREATE UNIQUE INDEX job_one_in_data_lane ON job(source) WHERE state = 'running' AND lanes & 1 <> 0;
CREATE UNIQUE INDEX job_one_in_log_lane ON job(source) WHERE state = 'running' AND lanes & 2 <> 0;
CREATE INDEX job_pending ON job(pool, run_at) WHERE state = 'pending';
CREATE INDEX job_queued ON job(pool, queued_at) WHERE state = 'queued';
CREATE INDEX job_waiting_start_by ON job(start_by) WHERE state IN ('pending', 'queued') AND start_by IS NOT NULL;
CREATE INDEX job_of_source ON job(source, id);
CREATE INDEX job_live ON job(source) WHERE state IN ('pending', 'queued', 'running');

-- Hot and narrow; expires_at is not indexed, so that a heartbeat stays a heap-only update.
CREATE TABLE lease (
  job        bigint PRIMARY KEY REFERENCES job,
  attempt    bigint NOT NULL,
  worker     int NOT NULL REFERENCES worker,
  instance   uuid NOT NULL,
  expires_at timestamptz NOT NULL,
  beat_at    timestamptz NOT NULL,
  moved_at   timestamptz NOT NULL,                               -- bytes or items last changed
  phase      text NOT NULL DEFAULT '',
  bytes_done bigint NOT NULL DEFAULT 0,
  bytes_total bigint NOT NULL DEFAULT 0,
  total_basis text NOT NULL DEFAULT '',
  items_done bigint NOT NULL DEFAULT 0,
  errors     bigint NOT NULL DEFAULT 0,
  stored     bigint NOT NULL DEFAULT 0,
  suspect_at timestamptz,                                        -- first look at this expiry
  suspect_expires timestamptz) WITH (fillfactor = 50);

CREATE TABLE job_attempt (
  job        bigint REFERENCES job,
  attempt    bigint,
  claim      uuid NOT NULL,
  worker     int NOT NULL REFERENCES worker,
  instance   uuid NOT NULL,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  ended_at   timestamptz,
  outcome    text CHECK (outcome IN ('completed','partial','failed','lost','released','cancelled')),
  code       text, cause text, error text,
  bytes_done bigint, stored bigint, items_done bigint, errors bigint,
  log_lines  bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (job, attempt),
  CHECK ((outcome IS NULL) = (ended_at IS NULL)));
CREATE INDEX job_attempt_of_instance ON job_attempt(instance) WHERE ended_at IS NULL;

-- N rows are a hard limit: a bug cannot exceed it. Only running work holds one.
CREATE TABLE limit_slot (
  scope   text NOT NULL,                                         -- "pool:fra", "policy:gold"
  n       int NOT NULL,
  job     bigint REFERENCES job,
  attempt bigint,
  PRIMARY KEY (scope, n),
  CHECK ((job IS NULL) = (attempt IS NULL)));
CREATE UNIQUE INDEX limit_slot_one_a_job ON limit_slot(scope, job) WHERE job IS NOT NULL;
CREATE INDEX limit_slot_of_job ON limit_slot(job) WHERE job IS NOT NULL;

CREATE TABLE job_log (
  job     bigint NOT NULL,
  attempt bigint NOT NULL,
  seq     bigint GENERATED ALWAYS AS IDENTITY,
  at      timestamptz NOT NULL,
  level   smallint NOT NULL,
  event   text NOT NULL,
  text    text NOT NULL,
  PRIMARY KEY (job, seq));

CREATE TABLE job_answer (
  job        bigint PRIMARY KEY REFERENCES job,
  attempt    bigint NOT NULL,
  answer     text NOT NULL CHECK (octet_length(answer) <= 1048576),
  at         timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at timestamptz);

CREATE TABLE decision (
  id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  first_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  last_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  count    bigint NOT NULL DEFAULT 1,
  source   int REFERENCES source,
  schedule text,
  slot     timestamptz,
  job      bigint REFERENCES job,
  verdict  text NOT NULL CHECK (verdict IN ('ran','deferred','skipped','missed','held','failed','cancelled')),
  code     text NOT NULL,
  text     text NOT NULL);
CREATE UNIQUE INDEX decision_one_a_reason ON decision(job, code) WHERE job IS NOT NULL;
CREATE INDEX decision_of_source ON decision(source, last_at);

-- What the screens follow; ids ascend, so that a reader can say where it stopped.
CREATE TABLE event (
  id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  kind   text NOT NULL,
  source int,
  job    bigint,
  data   jsonb NOT NULL DEFAULT '{}');

CREATE TABLE leader (
  name       text PRIMARY KEY,
  holder     uuid NOT NULL,
  host       text NOT NULL,
  term       bigint NOT NULL,
  expires_at timestamptz NOT NULL);

-- What the reaper remembers between passes, shared by every scheduler.
CREATE TABLE reaper (
  one        boolean PRIMARY KEY DEFAULT true CHECK (one),
  hold_until timestamptz NOT NULL DEFAULT '-infinity',
  mass_since timestamptz);
INSERT INTO reaper DEFAULT VALUES;

CREATE FUNCTION job_moves() RETURNS trigger LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM lifecycle WHERE from_state = OLD.state AND to_state = NEW.state) THEN
    RAISE EXCEPTION 'job % cannot go from % to %', OLD.id, OLD.state, NEW.state USING ERRCODE = 'check_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER job_moves BEFORE UPDATE OF state ON job FOR EACH ROW
  WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION job_moves();

CREATE FUNCTION job_tells() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
BEGIN
  INSERT INTO event(kind, source, job, data)
  VALUES (CASE WHEN NEW.finished_at IS NULL THEN 'job.state' ELSE 'job.finished' END, NEW.source, NEW.id,
          jsonb_build_object('state', NEW.state, 'kind', NEW.kind, 'attempt', NEW.attempt));
  RETURN NULL;
END $$;
CREATE TRIGGER job_made AFTER INSERT ON job FOR EACH ROW EXECUTE FUNCTION job_tells();
CREATE TRIGGER job_moved AFTER UPDATE OF state ON job FOR EACH ROW
  WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION job_tells();
