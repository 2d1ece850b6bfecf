-- What the catalogue says is in a pack: id, ordinal, codec, offset, stored, plain.
SELECT id, ordinal, codec, start, stored, plain FROM holdfast.pack_chunks($1, $2, $3, $4)
