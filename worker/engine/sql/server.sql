-- Of the server and the role: superuser, may read passwords, is a standby, free connections, data
-- directory (empty when the role may not know it).
SELECT r.rolsuper, pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT'),
    pg_catalog.pg_is_in_recovery(),
    pg_catalog.current_setting('max_connections')::int
        - pg_catalog.current_setting('superuser_reserved_connections')::int
        - (SELECT count(*)::int FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend'),
    CASE WHEN r.rolsuper OR pg_catalog.pg_has_role('pg_read_all_settings', 'MEMBER')
        THEN pg_catalog.current_setting('data_directory') ELSE '' END,
    pg_catalog.current_setting('server_version'), r.rolcreatedb
FROM pg_catalog.pg_roles r
WHERE r.rolname = CURRENT_USER
