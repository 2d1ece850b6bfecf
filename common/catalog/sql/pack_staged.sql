-- A row a chunk (or a pack without chunks) of what this attempt staged or adopted, after a pack number.
SELECT no, object, pack, kind, bytes, sha256, id, ordinal, codec, start, stored, plain FROM holdfast.pack_staged($1, $2, $3, $4, $5)
