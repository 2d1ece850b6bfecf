-- A database with one of everything that a dump is known to lose.
CREATE SCHEMA "we""ird / $(id)
schema";
CREATE TYPE mood AS ENUM ('sad', 'ok', 'it''s "fine"');
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE TYPE pair AS (a integer, b text);
CREATE EXTENSION hstore;
CREATE EXTENSION citext;

CREATE TABLE plain (id serial PRIMARY KEY, name text NOT NULL UNIQUE, body bytea, m mood, p positive,
    two pair, h hstore, c citext, at timestamptz DEFAULT now(), f double precision, n numeric,
    list text[]);
INSERT INTO plain (name, body, m, p, two, h, c, f, n, list)
SELECT E'row\t' || i || E'\n\\.\n', decode(md5(i::text), 'hex'), 'ok', i, ROW (i, 'x'::text)::pair, 'a=>1',
    'CamelCase', CASE i % 5 WHEN 0 THEN 'NaN' WHEN 1 THEN 'Infinity' ELSE i / 3.0 END, i / 7.0,
    ARRAY['a,b', NULL, '"q"']
FROM generate_series(1, 5000) i;
COMMENT ON TABLE plain IS 'a comment; with ''quotes''
and a second line';

CREATE TABLE identity_always (id bigint GENERATED ALWAYS AS IDENTITY (START 100 INCREMENT 7) PRIMARY KEY, t text);
INSERT INTO identity_always (t) SELECT 'x' FROM generate_series(1, 50);
CREATE TABLE generated (a integer, b integer GENERATED ALWAYS AS (a * 2) STORED, "odd ""col" text);
INSERT INTO generated (a, "odd ""col") SELECT i, i::text FROM generate_series(1, 100) i;
CREATE TABLE only_generated (b integer GENERATED ALWAYS AS (1 + 1) STORED);

CREATE TABLE measure (day date NOT NULL, v integer, PRIMARY KEY (day, v)) PARTITION BY RANGE (day);
CREATE TABLE measure_1 PARTITION OF measure FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE measure_2 PARTITION OF measure FOR VALUES FROM ('2026-02-01') TO ('2026-03-01') PARTITION BY HASH (v);
CREATE TABLE measure_2a PARTITION OF measure_2 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE measure_2b PARTITION OF measure_2 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE measure_rest PARTITION OF measure DEFAULT;
INSERT INTO measure SELECT '2026-01-15'::date + i, i FROM generate_series(0, 60) i;

CREATE TABLE parent (a integer, note text DEFAULT 'parent');
CREATE TABLE child (b integer) INHERITS (parent);
INSERT INTO parent SELECT i FROM generate_series(1, 10) i;
INSERT INTO child (a, b) SELECT i, i FROM generate_series(1, 20) i;

CREATE TABLE secret_rows (owner name, t text);
ALTER TABLE secret_rows ENABLE ROW LEVEL SECURITY;
ALTER TABLE secret_rows FORCE ROW LEVEL SECURITY;
CREATE POLICY mine ON secret_rows USING (owner = current_user);
INSERT INTO secret_rows VALUES ('somebody', 'else'), ('postgres', 'mine');

CREATE TABLE fk_a (id integer PRIMARY KEY, b integer);
CREATE TABLE fk_b (id integer PRIMARY KEY, a integer REFERENCES fk_a DEFERRABLE);
ALTER TABLE fk_a ADD FOREIGN KEY (b) REFERENCES fk_b DEFERRABLE INITIALLY DEFERRED;
INSERT INTO fk_a VALUES (1, NULL);
INSERT INTO fk_b VALUES (2, 1);
UPDATE fk_a SET b = 2;

CREATE TABLE "we""ird / $(id)
schema"."t;able
'DROP' %2F \n.." ("col ""um,n" integer, "select" text, "ünï" text);
INSERT INTO "we""ird / $(id)
schema"."t;able
'DROP' %2F \n.." VALUES (1, E'\x01\x7f', 'ü'), (NULL, '', NULL);
CREATE TABLE empty_one ();
CREATE TABLE no_columns ();
INSERT INTO no_columns DEFAULT VALUES;
INSERT INTO no_columns DEFAULT VALUES;
CREATE TABLE dropped_column (a integer, gone text, c integer);
INSERT INTO dropped_column VALUES (1, 'x', 2);
ALTER TABLE dropped_column DROP COLUMN gone;
CREATE UNLOGGED TABLE fast (a integer);
INSERT INTO fast SELECT generate_series(1, 7);
CREATE TABLE log_rows (t text);

CREATE FUNCTION twice(integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.log_rows VALUES (TG_TABLE_NAME);
    RETURN NEW;
END $$;
CREATE TRIGGER touched AFTER INSERT ON plain FOR EACH ROW EXECUTE FUNCTION touch();
CREATE RULE shout AS ON DELETE TO log_rows DO NOTHING;
CREATE INDEX expression ON plain (twice(p)) WHERE p > 3;
CREATE STATISTICS together ON a, c FROM dropped_column;
CREATE VIEW seen AS SELECT id, name FROM plain WHERE p > 10;
CREATE MATERIALIZED VIEW summed AS SELECT count(*) AS n, sum(p) AS total FROM plain;
CREATE MATERIALIZED VIEW summed_again AS SELECT n * 2 AS n FROM summed;
CREATE MATERIALIZED VIEW never_filled AS SELECT 1 AS one WITH NO DATA;
CREATE SEQUENCE fresh START 42;
CREATE SEQUENCE used INCREMENT -3;
SELECT nextval('used'), nextval('used');
CREATE SEQUENCE "Odd'; seq" ;
SELECT setval('"Odd''; seq"', 9223372036854775807);

CREATE ROLE "o'dd ""role";
GRANT SELECT (id) ON plain TO "o'dd ""role";
GRANT SELECT, INSERT ON generated TO "o'dd ""role" WITH GRANT OPTION;
ALTER TABLE child OWNER TO "o'dd ""role";
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO "o'dd ""role";

SELECT lo_from_bytea(4711, 'small');
SELECT lo_from_bytea(4712, '');
SELECT lo_from_bytea(4713, convert_to(repeat('0123456789abcdef', 200000), 'UTF8'));
COMMENT ON LARGE OBJECT 4711 IS 'it''s large';
ALTER LARGE OBJECT 4712 OWNER TO "o'dd ""role";
GRANT SELECT ON LARGE OBJECT 4713 TO "o'dd ""role";
