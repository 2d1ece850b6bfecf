-- Makes tickets visible once. KEYS ready, inq, generation  ARGV generation, side, (job, dispatch, ticket)...
-- side is L for normal and R for urgent work; workers take from the right. Returns how many were
-- pushed, or -1 when the generation differs: this Redis lost data and the caller pushes all again.
if redis.call('GET', KEYS[3]) ~= ARGV[1] then
  return -1
end
local pushed = 0
for i = 3, #ARGV, 3 do
  if redis.call('HGET', KEYS[2], ARGV[i]) ~= ARGV[i + 1] then
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
    redis.call(ARGV[2] == 'R' and 'RPUSH' or 'LPUSH', KEYS[1], ARGV[i + 2])
    pushed = pushed + 1
  end
end
return pushed
