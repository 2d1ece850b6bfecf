-- A row when a setting has that name.
UPDATE holdfast.setting SET value = $2 WHERE name = $1 RETURNING value
