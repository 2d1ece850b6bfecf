-- One row: what must be in the store, its sha256, and a marker there that nobody knows; each may be null.
SELECT newest, manifest_sha256, stranger FROM holdfast.repository_look($1, $2, $3, $4)
