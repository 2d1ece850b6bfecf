-- A row a pack whose object is to be deleted, ascending.
SELECT no, object, bytes, again, damaged FROM holdfast.collect_dead($1, $2, $3, $4, $5)
