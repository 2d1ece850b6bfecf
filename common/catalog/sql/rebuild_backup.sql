-- One row: imported, recovered, known or zombie; why.
SELECT answer, why FROM holdfast.rebuild_backup($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text::jsonb)
