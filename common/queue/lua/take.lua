-- Takes more tickets at once, in the order in which they would go. KEYS ready, claimed  ARGV most
-- Nothing here waits; a worker that finds none waits in BLMOVE. It uses what a worker's user may do.
-- Returns the tickets.
local taken = {}
for _ = 1, tonumber(ARGV[1]) do
  local ticket = redis.call('LRANGE', KEYS[1], -1, -1)[1]
  if not ticket then
    break
  end
  redis.call('LREM', KEYS[1], -1, ticket)
  redis.call('LPUSH', KEYS[2], ticket)
  taken[#taken + 1] = ticket
end
return taken
