-- Tables whose rows a dump carries, biggest first: oid, schema, table, bytes, quoted column list,
-- condition of an extension's configuration table (else empty), persistence, quoted name, whether it
-- is an extension's configuration table.
SELECT c.oid, n.nspname, c.relname, coalesce(pg_catalog.pg_relation_size(c.oid), 0) AS bytes,
    coalesce(columns.list, ''), coalesce(e.condition, ''), c.relpersistence,
    '"' || replace(n.nspname, '"', '""') || '"."' || replace(c.relname, '"', '""') || '"',
    e.relation IS NOT NULL
FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN LATERAL (
        SELECT string_agg('"' || replace(a.attname, '"', '""') || '"', ', ' ORDER BY a.attnum) AS list
        FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
    ) columns ON true
    LEFT JOIN (
        SELECT unnest(extconfig) AS relation, unnest(extcondition) AS condition
        FROM pg_catalog.pg_extension
    ) e ON e.relation = c.oid
WHERE c.relkind = 'r' AND c.relpersistence <> 't'
    AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND (e.relation IS NOT NULL OR NOT EXISTS (
        SELECT FROM pg_catalog.pg_depend d
        WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid
            AND d.objsubid = 0 AND d.deptype = 'e'))
ORDER BY bytes DESC, c.oid
