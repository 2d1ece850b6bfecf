-- One row: how many copy jobs came due.
SELECT holdfast.copies_fire()
