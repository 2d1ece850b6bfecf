-- One row: told.
SELECT holdfast.group_unreleased($1, $2, $3)
