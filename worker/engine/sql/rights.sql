-- What a dump of the current database would stumble over: tables, tables without the right to read,
-- one of them, tables whose row security would hide rows, one of them, large objects, bytes.
WITH t AS (
    SELECT c.oid, c.relrowsecurity,
        pg_catalog.has_table_privilege(c.oid, 'SELECT')
            AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AS readable,
        pg_catalog.row_security_active(c.oid) AS hidden
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND c.relpersistence <> 't'
        AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema')
SELECT count(*), count(*) FILTER (WHERE NOT readable),
    min(oid::pg_catalog.regclass::text) FILTER (WHERE NOT readable),
    count(*) FILTER (WHERE hidden), min(oid::pg_catalog.regclass::text) FILTER (WHERE hidden),
    (SELECT count(*) FROM pg_catalog.pg_largeobject_metadata),
    pg_catalog.pg_database_size(pg_catalog.current_database())
FROM t
