-- Lays a tenant's projection as read from Postgres beside nothing: nobody reserves on it before quota_activate.lua has run.
--
-- KEYS[1]  tg:{tenant}:quota   KEYS[2]  tg:{tenant}:holds   (see quota_deduct.lua)
--          It is laid over keys of any other type, too, and over an epoch that is no number: nothing of them can stand.
-- ARGV     1 epoch  2 install id  3 not after (ms, this server's clock)  4 posted  5 version  6 number of counters
--          7.. per counter: name, start:end:used   then per open hold: id, entry
-- Reply    INSTALLED | STANDS epoch_of_hash | LATE
-- The caller holds the tenant's wallet row in Postgres while it reads and installs. Until it is active the hash has
-- `installing` = epoch:install id and no epoch; endings already keep it up to date. "Not after" spares the next one from
-- meeting an install whose caller has gone; what it lets through is never activated. O(counters + open holds).

local FIRST = 7

local is_readable = redis.call('TYPE', KEYS[1]).ok == 'hash'
local epoch = is_readable and redis.call('HGET', KEYS[1], 'epoch')
if epoch and (tonumber(epoch) or 0) >= tonumber(ARGV[1]) then
  return { 'STANDS', epoch }
end
local time = redis.call('TIME')
if tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000 > tonumber(ARGV[3]) then
  return { 'LATE' }
end

redis.call('DEL', KEYS[1], KEYS[2])
local holds = FIRST + 2 * tonumber(ARGV[6])
for i = FIRST, holds - 1, 2 do
  redis.call('HSET', KEYS[1], 'c:' .. ARGV[i], ARGV[i + 1])
end
local held = 0
for i = holds, #ARGV, 2 do
  redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  local amount, funding = string.match(ARGV[i + 1], '^(%d+)|(%a+)|')
  if funding == 'wallet' then
    held = held + tonumber(amount)
  end
end
redis.call('HSET', KEYS[1], 'installing', ARGV[1] .. ':' .. ARGV[2], 'posted', ARGV[4], 'version', ARGV[5],
  'held', string.format('%.0f', held), 'counters', ARGV[6], 'open', string.format('%d', (#ARGV - holds + 1) / 2))
return { 'INSTALLED' }
