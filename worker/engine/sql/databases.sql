-- Every database that can be dumped: name, size in bytes.
SELECT d.datname, pg_catalog.pg_database_size(d.oid)
FROM pg_catalog.pg_database d
WHERE d.datallowconn AND NOT d.datistemplate
    AND pg_catalog.has_database_privilege(d.oid, 'CONNECT')
ORDER BY d.datname
