-- What repositories hold: sessions, packs, chunks, backups with their copies, entry lists, proofs.

CREATE TABLE session (
  job        bigint NOT NULL,
  attempt    bigint NOT NULL,
  repository int NOT NULL REFERENCES repository,
  writes     boolean NOT NULL,
  base_epoch bigint NOT NULL,                                    -- a flip spares what is older than any open one
  state      text NOT NULL DEFAULT 'open' CHECK (state IN ('open','committed','closed')),
  adopted_at timestamptz,
  closed_at  timestamptz,
  PRIMARY KEY (job, attempt, repository),
  FOREIGN KEY (job, attempt) REFERENCES job_attempt);
CREATE INDEX session_open ON session(repository, base_epoch) WHERE state = 'open';

CREATE TABLE pack (
  no         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  repository int NOT NULL REFERENCES repository,
  object     uuid NOT NULL,                                      -- name on the store, drawn by the attempt, never reused
  pack       uuid NOT NULL,                                      -- what the cryptography binds
  kind       text NOT NULL CHECK (kind IN ('data','meta')),
  domain     int NOT NULL,                                       -- source; 0: the whole repository
  job        bigint NOT NULL,
  attempt    bigint NOT NULL,
  state      text NOT NULL DEFAULT 'staged' CHECK (state IN ('staged','live','condemned','deleting','deleted')),
  bytes      bigint CHECK (bytes > 0),
  sha256     bytea CHECK (octet_length(sha256) = 32),
  verified_at timestamptz,
  damaged_at timestamptz,
  damage     text,
  condemned_epoch bigint,
  begun_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  UNIQUE (repository, object),
  CHECK ((bytes IS NULL) = (sha256 IS NULL)),
  CHECK (state IN ('staged','deleting','deleted') OR sha256 IS NOT NULL));
CREATE INDEX pack_staged ON pack(job, attempt) WHERE state = 'staged';
CREATE INDEX pack_condemned ON pack(repository, condemned_epoch) WHERE state = 'condemned';

-- Never updated: a row is seen through its pack's state, domain and verification alone.
CREATE TABLE chunk (
  repository int NOT NULL,
  id         bytea NOT NULL,
  pack_no    bigint NOT NULL,
  ordinal    int NOT NULL,
  codec      smallint NOT NULL,
  start      bigint NOT NULL,                                    -- offset in the object
  stored     int NOT NULL,
  plain      int NOT NULL,
  PRIMARY KEY (repository, id, pack_no)) PARTITION BY HASH (repository, id);
DO $$ BEGIN
  FOR part IN 0 .. 15 LOOP
    EXECUTE format('CREATE TABLE chunk_%s PARTITION OF chunk FOR VALUES WITH (MODULUS 16, REMAINDER %s)', to_char(part, 'FM00'), part);
    EXECUTE format('CREATE INDEX ON chunk_%s (pack_no)', to_char(part, 'FM00'));
  END LOOP;
END $$;

CREATE TABLE backup (
  id         uuid PRIMARY KEY,
  job        bigint NOT NULL UNIQUE REFERENCES job,              -- one committed effect a job, by structure
  attempt    bigint NOT NULL,
  source     int NOT NULL REFERENCES source,
  schedule   text,
  slot       timestamptz,
  policy     text,
  repository int NOT NULL REFERENCES repository,
  key_set    text NOT NULL,
  sequence   bigint NOT NULL CHECK (sequence > 0),
  parent     uuid,
  outcome    text NOT NULL CHECK (outcome IN ('completed','partial')),
  manifest_sha256 bytea NOT NULL CHECK (octet_length(manifest_sha256) = 32),
  index_object uuid NOT NULL,
  index_sha256 bytea NOT NULL CHECK (octet_length(index_sha256) = 32),
  consistent_at timestamptz NOT NULL,
  position   text NOT NULL DEFAULT '',
  receipt    jsonb NOT NULL DEFAULT '{}',
  started_at timestamptz NOT NULL,
  committed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  entries    bigint NOT NULL,
  bytes      bigint NOT NULL,
  stored_bytes bigint NOT NULL,
  new_bytes  bigint NOT NULL,
  issues     jsonb NOT NULL DEFAULT '[]',
  issue_count bigint NOT NULL DEFAULT 0,
  packs      bigint[] NOT NULL,                                  -- ascending; one set a backup
  marker_at  timestamptz,                                        -- commits/<id> is known to be there
  expires_at timestamptz,
  held_until timestamptz,
  held_reason text,
  locked_until timestamptz,
  deleted_at timestamptz,
  UNIQUE (source, repository, sequence),
  FOREIGN KEY (job, attempt) REFERENCES job_attempt);
CREATE INDEX backup_of_source ON backup(source, consistent_at);
CREATE INDEX backup_unmarked ON backup(repository) WHERE marker_at IS NULL AND deleted_at IS NULL;

CREATE TABLE backup_copy (
  backup     uuid REFERENCES backup,
  repository int REFERENCES repository,
  job        bigint NOT NULL REFERENCES job,
  stored_bytes bigint NOT NULL,
  index_object uuid NOT NULL,
  packs      bigint[] NOT NULL,
  committed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  marker_at  timestamptz,
  expires_at timestamptz,
  deleted_at timestamptz,
  PRIMARY KEY (backup, repository));

CREATE TABLE backup_item (
  backup  uuid REFERENCES backup,
  n       int,
  kind    text NOT NULL,
  name    text NOT NULL,
  entries bigint NOT NULL,
  rows    bigint NOT NULL,
  bytes   bigint NOT NULL,
  PRIMARY KEY (backup, n));

CREATE TABLE verification (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  backup     uuid NOT NULL REFERENCES backup,
  job        bigint NOT NULL REFERENCES job,
  level      text NOT NULL CHECK (level IN ('stored','content','restore','query')),
  result     text NOT NULL CHECK (result IN ('ok','failed','inconclusive')),
  started_at timestamptz NOT NULL,
  finished_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  worker     int REFERENCES worker,
  checks     jsonb NOT NULL DEFAULT '{}',
  reviewed_by text,
  reviewed_at timestamptz);
CREATE INDEX verification_of_backup ON verification(backup, level, finished_at);
