-- Runs at every migrate, as the administrator: the roles, the schema, and the list of what was applied.
DO $$
DECLARE
  made record;
BEGIN
  FOR made IN SELECT * FROM (VALUES ('holdfast_owner', 'NOLOGIN'), ('holdfast_scheduler', 'LOGIN'),
      ('holdfast_worker', 'NOLOGIN'), ('holdfast_reader', 'NOLOGIN'), ('holdfast_pruner', 'NOLOGIN'),
      ('holdfast_auditor', 'NOLOGIN')) AS x(name, login) LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = made.name) THEN
      BEGIN
        EXECUTE format('CREATE ROLE %I %s', made.name, made.login);
        EXECUTE format('ALTER ROLE %I SET jit = off', made.name); -- short statements, many of them
      EXCEPTION WHEN duplicate_object OR unique_violation THEN
        NULL; -- another database of this server is being migrated at this moment
      END;
    END IF;
  END LOOP;
  IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
    BEGIN -- from version 16 on, having made a role does not yet allow to act as it
      EXECUTE format('GRANT holdfast_owner TO %I', current_user);
    EXCEPTION WHEN insufficient_privilege THEN
      NULL; -- somebody granted it before, or the next line says what is missing
    END;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'holdfast') THEN
    CREATE SCHEMA holdfast AUTHORIZATION holdfast_owner;
  END IF;
END $$;
SET LOCAL ROLE holdfast_owner;
-- A function is nobody's until it is granted.
ALTER DEFAULT PRIVILEGES FOR ROLE holdfast_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
GRANT USAGE ON SCHEMA holdfast TO holdfast_scheduler, holdfast_worker, holdfast_auditor;
CREATE TABLE IF NOT EXISTS holdfast.schema_version (
  number     int PRIMARY KEY,
  name       text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT clock_timestamp());
GRANT SELECT ON holdfast.schema_version TO holdfast_scheduler, holdfast_worker, holdfast_auditor;
