-- One row: how many jobs were made. Rounds of checks that wait are moved in the same breath.
SELECT holdfast.prunes_fire() FROM holdfast.verify_rounds_move()
