-- What CREATE DATABASE and ALTER DATABASE need to make an empty copy of the current database, and
-- the roles and tablespaces that its objects name; one JSON object. Only ever read by us.
SELECT pg_catalog.jsonb_build_object(
    'encoding', pg_catalog.pg_encoding_to_char(d.encoding),
    'collate', d.datcollate, 'ctype', d.datctype,
    'owner', pg_catalog.pg_get_userbyid(d.datdba),
    'limit', d.datconnlimit, 'template', d.datistemplate,
    'provider', pg_catalog.to_jsonb(d) ->> 'datlocprovider',
    'locale', coalesce(pg_catalog.to_jsonb(d) ->> 'datlocale', pg_catalog.to_jsonb(d) ->> 'daticulocale'),
    'comment', pg_catalog.shobj_description(d.oid, 'pg_database'),
    'grants', (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
            'privilege', a.privilege_type, 'grantable', a.is_grantable,
            'to', CASE a.grantee WHEN 0 THEN NULL ELSE pg_catalog.pg_get_userbyid(a.grantee) END))
        FROM pg_catalog.aclexplode(d.datacl) a),
    'settings', (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
            'role', CASE s.setrole WHEN 0 THEN NULL ELSE pg_catalog.pg_get_userbyid(s.setrole) END,
            'set', pg_catalog.to_jsonb(s.setconfig)))
        FROM pg_catalog.pg_db_role_setting s WHERE s.setdatabase = d.oid),
    'roles', (SELECT pg_catalog.jsonb_agg(DISTINCT pg_catalog.pg_get_userbyid(r.role))
        FROM (SELECT s.refobjid AS role
            FROM pg_catalog.pg_shdepend s
            WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
                AND (s.dbid = d.oid OR (s.dbid = 0 AND s.objid = d.oid))
            UNION ALL SELECT d.datdba
            UNION ALL SELECT c.relowner
            FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema') r),
    'tablespaces', (SELECT pg_catalog.jsonb_agg(DISTINCT t.spcname)
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_tablespace t ON t.oid = c.reltablespace
        WHERE t.spcname <> 'pg_global'))::text
FROM pg_catalog.pg_database d
WHERE d.datname = pg_catalog.current_database()
