-- One row: the run's state, whether all have come or passed, why it broke or who is missing, since when the application is held.
SELECT state, ready, why, held_at FROM holdfast.group_step($1, $2, $3, $4, $5)
