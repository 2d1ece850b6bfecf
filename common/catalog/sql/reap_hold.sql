-- A row: nobody is reaped for the grace time.
UPDATE holdfast.reaper SET hold_until = greatest(hold_until, clock_timestamp() + make_interval(secs => holdfast.setting_of('grace_s')))
RETURNING one
