-- One row: how many condemned packs are dying now, their bytes, how many were pardoned, how many a session spares.
SELECT flipped, bytes, pardoned, spared FROM holdfast.collect_flip($1, $2, $3, $4)
