-- One row: the object of audit/ that was written last, and its hash.
SELECT object, sha256 FROM holdfast.proofs_last($1, $2, $3)
