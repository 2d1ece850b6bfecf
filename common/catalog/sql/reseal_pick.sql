-- A row a pack that may be sealed to a reader of before, by domain and kind.
SELECT no, object, pack, kind, bytes, sha256, domain FROM holdfast.reseal_pick($1, $2, $3, $4, $5, $6)
