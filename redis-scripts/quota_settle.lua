-- Ends holds whose charge is committed in the ledger and installs what the ledger has posted.
--
-- KEYS[1]  tg:{tenant}:quota   KEYS[2]  tg:{tenant}:holds   (see quota_deduct.lua)
-- ARGV     1 posted  2 version  3.. hold ids
-- Reply    number of holds that were open
-- posted is absolute and applied only when its version is newer, an unknown hold changes nothing: twice, late and out of
-- order are harmless. No epoch is compared: an entry in the hash belongs to the hash's epoch whoever installed it, and a
-- hash of an old epoch is rebuilt before it is used again. A cold tenant stays cold: its named holds go, and there is no
-- `held` to correct. Nor is a field made that is gone: by its absence quota_deduct.lua knows the damage. O(holds named).

local state = redis.call('HMGET', KEYS[1], 'version', 'held')
if state[1] and tonumber(ARGV[2]) > tonumber(state[1]) then
  redis.call('HSET', KEYS[1], 'posted', ARGV[1], 'version', ARGV[2])
end

local ended = 0
for i = 3, #ARGV do
  local entry = redis.call('HGET', KEYS[2], ARGV[i])
  if entry then
    redis.call('HDEL', KEYS[2], ARGV[i])
    if state[2] then
      redis.call('HINCRBY', KEYS[1], 'held', '-' .. string.match(entry, '^(%d+)|'))
    end
    ended = ended + 1
  end
end
return ended
