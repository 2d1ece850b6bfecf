-- One row: is a scan for orphans due, or asked for? It has begun then.
SELECT holdfast.orphan_begin($1, $2, $3, $4)
