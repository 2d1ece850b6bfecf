-- Ends a ticket. KEYS claimed, inq  ARGV ticket, job, dispatch
-- A newer dispatch of the same job survives an old ack. Returns how many elements were removed.
local removed = redis.call('LREM', KEYS[1], 1, ARGV[1])
if redis.call('HGET', KEYS[2], ARGV[2]) == ARGV[3] then
  redis.call('HDEL', KEYS[2], ARGV[2])
end
return removed
