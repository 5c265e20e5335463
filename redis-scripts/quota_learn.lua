-- Tells a tenant's projection of counters it has not met, as read from Postgres.
--
-- KEYS[1]  tg:{tenant}:quota   (see quota_deduct.lua)
-- ARGV     1 epoch  2.. per counter: name, start:end:used
-- Reply    number of counters that were new to it
-- Only into the active projection of that epoch, and never over a counter that is there: twice, late and side by side are
-- harmless. Nothing of the epoch has counted in a counter that its projection has not met, and no open charge of an older
-- one names it, else it would have been laid; so what Postgres says of it stays the same until it is met. It is never taken
-- away within the epoch again (quota_rebuild.lua). O(counters).

if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then
  return 0
end
local new = 0
for i = 2, #ARGV, 2 do
  new = new + redis.call('HSETNX', KEYS[1], 'c:' .. ARGV[i], ARGV[i + 1])
end
if new > 0 then
  redis.call('HINCRBY', KEYS[1], 'counters', new)
end
return new
