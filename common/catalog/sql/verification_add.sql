-- One row: the result is kept.
SELECT holdfast.verification_add($1, $2, $3, $4, $5, $6, $7, $8::text::jsonb)
