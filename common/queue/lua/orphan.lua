-- Returns the tickets of a worker that is gone. KEYS alive, claimed, ready, workers  ARGV worker, most, forget
-- forget 1: its list was empty for long enough; when it still is, the worker is looked at no more.
-- Returns how many were moved, or -1 when the worker lives.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return -1
end
local moved = 0
for _ = 1, tonumber(ARGV[2]) do
  if not redis.call('LMOVE', KEYS[2], KEYS[3], 'LEFT', 'RIGHT') then
    if ARGV[3] == '1' then
      redis.call('SREM', KEYS[4], ARGV[1])
    end
    break
  end
  moved = moved + 1
end
return moved
