-- These are in the store now.
SELECT holdfast.proofs_told($1, $2, $3, $4, $5, $6, $7, $8)
