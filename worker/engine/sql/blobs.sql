-- Large objects: oid, and the statements that give it its owner, rights and comment ($ stands for
-- nothing: they are complete).
SELECT m.oid,
    'ALTER LARGE OBJECT ' || m.oid || ' OWNER TO ' || owner.name || ';'
    || coalesce(rights.text, '')
    || coalesce('COMMENT ON LARGE OBJECT ' || m.oid || ' IS ' || quote_literal(d.description) || ';', '')
FROM pg_catalog.pg_largeobject_metadata m
    JOIN LATERAL (SELECT '"' || replace(pg_catalog.pg_get_userbyid(m.lomowner), '"', '""') || '"' AS name) owner
        ON true
    LEFT JOIN pg_catalog.pg_description d
        ON d.classoid = 'pg_catalog.pg_largeobject'::pg_catalog.regclass AND d.objoid = m.oid AND d.objsubid = 0
    LEFT JOIN LATERAL (
        SELECT 'REVOKE ALL ON LARGE OBJECT ' || m.oid || ' FROM PUBLIC, ' || owner.name || ';'
            || string_agg('GRANT ' || a.privilege_type || ' ON LARGE OBJECT ' || m.oid || ' TO '
                || CASE a.grantee WHEN 0 THEN 'PUBLIC'
                    ELSE '"' || replace(pg_catalog.pg_get_userbyid(a.grantee), '"', '""') || '"' END
                || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END || ';', '') AS text
        FROM pg_catalog.aclexplode(m.lomacl) a
    ) rights ON m.lomacl IS NOT NULL
ORDER BY m.oid
