-- A row an id that lies in another repository that this attempt has opened.
SELECT n, pack_no, object, pack, ordinal, codec, start, stored, plain FROM holdfast.chunk_find_in($1, $2, $3, $4, $5, $6)
