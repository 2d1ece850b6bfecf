-- One row: how many packs were marked.
SELECT holdfast.rebuild_gone($1, $2, $3, $4, $5, $6)
