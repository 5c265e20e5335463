-- Begins to lay a tenant's projection as read from Postgres beside nothing: its balance. Counters and open holds follow in
-- parts (quota_lay.lua), and nobody reserves on it before quota_activate.lua has run.
--
-- KEYS[1]  tg:{tenant}:quota   KEYS[2]  tg:{tenant}:holds   (see quota_deduct.lua)
--          It is laid over keys of any other type, too, and over an epoch that is no number: nothing of them can stand.
-- ARGV     1 epoch  2 install id  3 not after (ms, this server's clock)  4 posted  5 version
-- Reply    INSTALLED | STANDS epoch_of_hash | LATE
-- The caller holds the tenant's wallet row in Postgres from before it reads until the last part is laid. Until it is active
-- the hash has `installing` = epoch:install id and no epoch; endings already keep it up to date. "Not after" spares the next
-- one from meeting an install whose caller has gone; what it lets through is never activated. O(1): what was there is freed
-- beside the commands that follow.

local is_readable = redis.call('TYPE', KEYS[1]).ok == 'hash'
local epoch = is_readable and redis.call('HGET', KEYS[1], 'epoch')
if epoch and (tonumber(epoch) or 0) >= tonumber(ARGV[1]) then
  return { 'STANDS', epoch }
end
local time = redis.call('TIME')
if tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000 > tonumber(ARGV[3]) then
  return { 'LATE' }
end

redis.call('UNLINK', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'installing', ARGV[1] .. ':' .. ARGV[2], 'posted', ARGV[4], 'version', ARGV[5],
  'held', '0', 'counters', '0', 'open', '0')
return { 'INSTALLED' }
