-- Packs of which the store does not say the newest yet.
SELECT no, object, sha256, verified_at, checked_at, damaged_at, damage FROM holdfast.proofs_packs($1, $2, $3, $4)
