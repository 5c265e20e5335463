-- Installs a tenant's projection as read from Postgres, unless this or a later epoch stands already.
--
-- KEYS[1]  tg:{tenant}:quota   KEYS[2]  tg:{tenant}:holds   (see quota_deduct.lua)
-- ARGV     1 epoch  2 not after (ms, this server's clock)  3 posted  4 version  5 day start  6 day used
--          7 month start  8 month used  9.. per open hold: id, entry
-- Reply    INSTALLED | STANDS epoch_of_hash | LATE
-- The caller holds the tenant's wallet row in Postgres while it reads and installs; "not after" makes an install that was
-- delayed past that lock refuse itself. O(open holds).

local epoch = redis.call('HGET', KEYS[1], 'epoch')
if epoch and tonumber(epoch) >= tonumber(ARGV[1]) then
  return { 'STANDS', epoch }
end
local time = redis.call('TIME')
if tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000 > tonumber(ARGV[2]) then
  return { 'LATE' }
end

redis.call('DEL', KEYS[1], KEYS[2])
local held = 0
for i = 9, #ARGV, 2 do
  redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  held = held + tonumber(string.match(ARGV[i + 1], '^(%d+)|'))
end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'posted', ARGV[3], 'version', ARGV[4],
  'held', string.format('%.0f', held), 'day_start', ARGV[5], 'day_used', ARGV[6],
  'day_prev_start', '0', 'day_prev_used', '0', 'month_start', ARGV[7], 'month_used', ARGV[8],
  'month_prev_start', '0', 'month_prev_used', '0')
return { 'INSTALLED' }
