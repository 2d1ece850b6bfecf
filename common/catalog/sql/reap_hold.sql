-- A row when nobody is reaped for the grace time from now. Not so soon after the last time: one scheduler that comes and goes would
-- keep every dead worker unfound.
UPDATE holdfast.reaper SET hold_until = clock_timestamp() + make_interval(secs => holdfast.setting_of('grace_s'))
WHERE hold_until < clock_timestamp() - make_interval(secs => holdfast.setting_of('grace_s')) RETURNING one
