-- A row when nobody is reaped for the grace time from now. Not so soon after the last time: one scheduler that comes and goes would
-- keep every dead worker unfound. Nor after a silence of $1 seconds in which whoever missed one beat still held its lease.
UPDATE holdfast.reaper SET hold_until = clock_timestamp() + make_interval(secs => holdfast.setting_of('grace_s'))
WHERE hold_until < clock_timestamp() - make_interval(secs => holdfast.setting_of('grace_s'))
  AND $1::float8 >= holdfast.setting_of('lease_s') - holdfast.setting_of('beat_s') RETURNING one
