-- Packs of the backup that a reader has seen whole, or none: number, object, pack, kind, bytes, sha256.
SELECT no, object, pack, kind, bytes, sha256 FROM holdfast.pack_unseen($1, $2, $3, $4, $5, $6, $7)
