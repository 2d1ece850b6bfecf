-- A row a deleted backup whose objects may still be there.
SELECT backup, manifest_sha256, source, reason FROM holdfast.forgets_due($1, $2, $3, $4)
