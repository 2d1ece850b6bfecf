-- A row a pack of the backup past a number, with the pack of the same bytes that the target has (NULL: none).
SELECT no, object, pack, kind, bytes, sha256, have, have_object, have_staged FROM holdfast.copy_packs($1, $2, $3, $4, $5, $6)
