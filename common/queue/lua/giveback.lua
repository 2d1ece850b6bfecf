-- Hands a ticket back unused. KEYS claimed, ready  ARGV ticket, side
-- side R: it is the next to be taken (drain, no catalogue); L: the last (this worker is unfit).
-- Returns 1 when it was moved, 0 when it was no longer ours.
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then
  return 0
end
redis.call(ARGV[2] == 'R' and 'RPUSH' or 'LPUSH', KEYS[2], ARGV[1])
return 1
