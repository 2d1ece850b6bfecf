-- Packs of a range of objects, by object: number, object, pack, kind, bytes, sha256.
SELECT no, object, pack, kind, bytes, sha256 FROM holdfast.rebuild_expected($1, $2, $3, $4, $5, $6, $7)
