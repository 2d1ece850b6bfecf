-- A row a pack that may be half-dead, by domain and kind.
SELECT no, object, pack, kind, bytes, sha256, domain FROM holdfast.repack_pick($1, $2, $3, $4, $5)
