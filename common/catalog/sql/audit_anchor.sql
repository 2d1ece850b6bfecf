-- No row: the anchor is kept.
INSERT INTO holdfast.audit_anchor(seq, hash, copied_to) VALUES ($1, $2, $3)
