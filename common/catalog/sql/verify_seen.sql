-- One row: how many of these packs the round had still to see.
SELECT holdfast.verify_seen($1, $2, $3, $4, $5)
