-- Tables that another transaction emptied, rewrote, replaced or dropped between our snapshot and
-- our locks; the snapshot would see no row in them, so a new one must be taken. Takes: oids.
SELECT c.oid::pg_catalog.regclass::text
FROM pg_catalog.pg_class c
WHERE c.oid = ANY ($1::pg_catalog.oid[])
    AND pg_catalog.pg_relation_filenode(c.oid) IS DISTINCT FROM c.relfilenode
LIMIT 1
