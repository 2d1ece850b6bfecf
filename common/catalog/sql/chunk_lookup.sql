-- A row a chunk that this attempt may use; n is its place among the ids asked for.
SELECT n, pack_no, object, pack, ordinal, codec, start, stored, plain FROM holdfast.chunk_lookup($1, $2, $3, $4)
