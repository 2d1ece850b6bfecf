-- A row for each pack that the round still looks at, in its order.
SELECT n, no, object, pack, kind, bytes, sha256 FROM holdfast.verify_next($1, $2, $3, $4, $5)
