-- One row: how many repositories are to be collected now.
SELECT holdfast.prunes_fire()
