-- One row: how many of these packs are deleted now, with their chunk rows.
SELECT holdfast.collect_gone($1, $2, $3, $4)
