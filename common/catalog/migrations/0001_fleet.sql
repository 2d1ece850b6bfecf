-- Who and what there is: settings, pools, workers, policy, stores, repositories, sources, schedules.
-- Column `no` is a small number given here; `name` is what people call it.

-- Timers and limits of the machine itself, in seconds unless the note says otherwise.
CREATE TABLE setting (
  name  text PRIMARY KEY,
  value double precision NOT NULL CHECK (value >= 0),
  note  text NOT NULL);
INSERT INTO setting VALUES
  ('lease_s', 60, 'how long a heartbeat lets a worker speak for its jobs'),
  ('beat_s', 15, 'between two heartbeats'),
  ('liveness_s', 30, 'life of a worker''s key in Redis'),
  ('looks_s', 15, 'between the two looks at an expired lease'),
  ('grace_s', 90, 'nobody is reaped so long after PostgreSQL started or a scheduler reconnected'),
  ('mass_leases', 5, 'count: from so many leases on, many lapsing at once means the network'),
  ('mass_share', 0.5, 'share: more than this lapsed at once'),
  ('mass_wait_s', 300, 'how long a mass lapse is waited out'),
  ('requeue_s', 30, 'a ticket this old is pushed again'),
  ('requeue_force_s', 600, 'a ticket this old is void and the job pending again'),
  ('loss_backoff_s', 30, 'first wait after a lost attempt; doubles'),
  ('loss_backoff_max_s', 3600, 'longest wait after a lost attempt'),
  ('max_losses', 3, 'count: attempts that ended without a verdict before the job is given up as poison'),
  ('defer_min_s', 5, 'shortest wait of a job whose lane or limit is taken'),
  ('defer_max_s', 30, 'longest wait of such a job'),
  ('leader_s', 15, 'lease of the leading scheduler'),
  ('aging_s', 300, 'waiting this long raises a job by one priority point'),
  ('answer_s', 3600, 'life of a probe''s answer'),
  ('log_lines', 10000, 'count: lines kept of one attempt'),
  ('log_days', 90, 'days: logs and events older than this are thrown away');

CREATE TABLE pool (
  no         int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,       -- in Redis: p<no>
  name       text NOT NULL UNIQUE CHECK (name ~ '^(host:[A-Za-z0-9._-]{1,200}|[a-z0-9][a-z0-9_-]{0,47})$'),
  generation uuid NOT NULL DEFAULT gen_random_uuid(),            -- what Redis must hold, or it lost data
  window_size int NOT NULL DEFAULT 1024 CHECK (window_size BETWEEN 1 AND 100000),
  max_jobs   int CHECK (max_jobs > 0),
  paused     boolean NOT NULL DEFAULT false);

CREATE TABLE worker (
  no         int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  role_name  text NOT NULL,
  name       text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9_-]{0,47}$'),
  host       text NOT NULL CHECK (host ~ '^[A-Za-z0-9._-]{1,200}$'),
  pools      int[] NOT NULL,                                     -- its host's implicit pool included
  sources    text[] NOT NULL DEFAULT '{}',
  reader     boolean NOT NULL DEFAULT false,
  drain      boolean NOT NULL DEFAULT false,
  enrolled_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  retired_at timestamptz);
CREATE UNIQUE INDEX worker_one_live_role ON worker(role_name) WHERE retired_at IS NULL;
CREATE UNIQUE INDEX worker_one_live_name ON worker(name) WHERE retired_at IS NULL;

-- One process start. facts is what it announced; it narrows the registration, it never widens it.
CREATE TABLE worker_instance (
  id        uuid PRIMARY KEY,
  worker    int NOT NULL REFERENCES worker,
  version   text NOT NULL,
  slots     int NOT NULL CHECK (slots BETWEEN 1 AND 10000),
  facts     jsonb NOT NULL CHECK (jsonb_typeof(facts) = 'object'),
  skew_ms   bigint NOT NULL,
  signature text NOT NULL,                                       -- of its pools when it said hello
  hello_at  timestamptz NOT NULL,
  seen_at   timestamptz NOT NULL,
  bye_at    timestamptz) WITH (fillfactor = 50);
CREATE INDEX worker_instance_live ON worker_instance(worker) WHERE bye_at IS NULL;

CREATE TABLE policy_version (
  no         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,    -- the highest is in force
  digest     text NOT NULL,
  document   text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  actor      text NOT NULL);

CREATE TABLE store (
  name       text PRIMARY KEY,
  config     jsonb NOT NULL,                                     -- secrets are references
  retired_at timestamptz);

CREATE TABLE repository (
  no         int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  store      text NOT NULL REFERENCES store,
  key_set    text NOT NULL,                                      -- '' is an unencrypted one
  id         uuid UNIQUE,                                        -- bound by the first worker that opens it
  gc_epoch   bigint NOT NULL DEFAULT 0,
  confirmed_epoch bigint NOT NULL DEFAULT 0,
  rolled_back boolean NOT NULL DEFAULT false,
  UNIQUE (store, key_set));

CREATE TABLE source (
  no         int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name       text NOT NULL UNIQUE,
  type       text NOT NULL,
  spec       jsonb NOT NULL,                                     -- compiled: every default merged in
  pool       int NOT NULL REFERENCES pool,
  repository int NOT NULL REFERENCES repository,                 -- where its backups are written
  policy     text,
  owner      text,
  labels     jsonb NOT NULL DEFAULT '{}',
  rpo_s      bigint,
  rto_s      bigint,
  covered_since timestamptz NOT NULL DEFAULT clock_timestamp(),
  paused_until timestamptz,
  paused_reason text,
  retired_at timestamptz);

CREATE TABLE schedule (
  source     int REFERENCES source,
  name       text,
  at         text NOT NULL,
  timezone   text NOT NULL,
  kind       text NOT NULL,
  params     jsonb NOT NULL DEFAULT '{}',
  catch_up   boolean NOT NULL,                                   -- latest; else none
  overlap_skip boolean NOT NULL,
  start_deadline_s bigint,
  last_slot  timestamptz NOT NULL,                               -- decided up to here; moved by compare-and-set
  PRIMARY KEY (source, name));
