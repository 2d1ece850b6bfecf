-- A row a chunk that is there; n is its place among the ids asked for.
SELECT n, pack_no, object, pack, ordinal, codec, start, stored, plain FROM holdfast.chunk_find($1, $2, $3, $4)
