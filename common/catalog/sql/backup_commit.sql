-- One row: ok, already, fenced or damaged; detail.
SELECT answer, detail FROM holdfast.backup_commit($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::text::jsonb, $12, $13, $14, $15, $16, $17,
  $18, $19::text::jsonb, $20, $21, $22, $23, $24, $25)
