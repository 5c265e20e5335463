-- Ends holds whose charge is committed in the ledger and installs what the ledger has posted.
--
-- KEYS[1]  tg:{tenant}:quota   KEYS[2]  tg:{tenant}:holds   (see quota_deduct.lua)
-- ARGV     1 posted  2 version  3.. hold ids
-- Reply    number of holds that were open
-- posted is absolute and applied only when its version is newer, an unknown hold changes nothing: twice, late and out of
-- order are harmless. No epoch is compared: an entry in the hash belongs to the hash's epoch whoever installed it, and a
-- hash of an old epoch is rebuilt before it is used again. A cold tenant stays cold. O(holds named).

local version = redis.call('HGET', KEYS[1], 'version')
if not version then
  return 0
end
if tonumber(ARGV[2]) > tonumber(version) then
  redis.call('HSET', KEYS[1], 'posted', ARGV[1], 'version', ARGV[2])
end

local ended = 0
for i = 3, #ARGV do
  local entry = redis.call('HGET', KEYS[2], ARGV[i])
  if entry then
    redis.call('HDEL', KEYS[2], ARGV[i])
    redis.call('HINCRBY', KEYS[1], 'held', '-' .. string.match(entry, '^(%d+)|'))
    ended = ended + 1
  end
end
return ended
