-- One row: how many packs of dead attempts are this attempt's now.
SELECT holdfast.pack_adopt($1, $2, $3)
