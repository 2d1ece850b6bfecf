-- As chunk_find, but never from the object $5, which a reader missed.
SELECT n, pack_no, object, pack, ordinal, codec, start, stored, plain FROM holdfast.chunk_find_other($1, $2, $3, $4, $5)
