-- One row: is the epoch in the store one that a collector left which was taken for dead?
SELECT holdfast.epoch_is_late($1, $2, $3, $4, $5, $6)
