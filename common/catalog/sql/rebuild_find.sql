-- Places of chunks: place in the question, pack, object, pack id, ordinal, codec, offset, stored, plain.
SELECT n, pack_no, object, pack, ordinal, codec, start, stored, plain FROM holdfast.rebuild_find($1, $2, $3, $4, $5, $6)
