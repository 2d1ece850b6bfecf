-- Those of these backups that the catalogue has.
SELECT holdfast.rebuild_known($1, $2, $3, $4, $5)
