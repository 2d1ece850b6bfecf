-- One row: how many jobs write the holds of these backups again.
SELECT holdfast.reseal_holds($1, $2, $3, $4)
