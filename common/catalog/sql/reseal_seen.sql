-- One row: nothing. These packs are sealed to no reader but this generation's.
SELECT holdfast.reseal_seen($1, $2, $3, $4, $5)
