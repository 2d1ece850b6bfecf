-- A row when this holder led.
UPDATE holdfast.leader SET expires_at = '-infinity' WHERE name = 'scheduler' AND holder = $1 RETURNING term
