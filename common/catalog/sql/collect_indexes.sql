-- A row a deleted backup all packs of which are gone, with its index object.
SELECT backup, object FROM holdfast.collect_indexes($1, $2, $3, $4)
