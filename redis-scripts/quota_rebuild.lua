-- Corrects a tenant's current projection in place to what the ledger says, on command.
--
-- KEYS[1]  tg:{tenant}:quota   KEYS[2]  tg:{tenant}:holds   (see quota_deduct.lua)
-- ARGV     1 epoch  2 not after (ms, this server's clock)  3 posted  4 version  5 number of counters  6 number of open holds
--          7.. per counter: name, start:end:used of its committed charges; per open hold: id, entry; then ids of ended holds
-- Reply    REBUILT posted_before held_before posted held added removed | EPOCH epoch_of_hash ('' : none) | LATE
-- The caller holds the tenant's wallet row: no charge ends meanwhile. A hold that is here and neither open nor ended there
-- has no row yet, it stays. held and the counters are what the committed charges and the holds that are left add up to; a
-- counter that nobody names is met anew when it is used. O(counters + holds).

local FIRST = 7

local function text(number)
  return string.format('%.0f', number)
end

local before = redis.call('HMGET', KEYS[1], 'epoch', 'posted', 'held')
if before[1] ~= ARGV[1] then
  return { 'EPOCH', before[1] or '' }
end
local time = redis.call('TIME')
if tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000 > tonumber(ARGV[2]) then
  return { 'LATE' }
end

local open = FIRST + 2 * tonumber(ARGV[5])
local ended = open + 2 * tonumber(ARGV[6])
local added, removed = 0, 0
for i = ended, #ARGV do
  removed = removed + redis.call('HDEL', KEYS[2], ARGV[i])
end
for i = open, ended - 1, 2 do
  added = added + redis.call('HSETNX', KEYS[2], ARGV[i], ARGV[i + 1])
end

local counters = {}
for i = FIRST, open - 1, 2 do
  local start, finish, used = string.match(ARGV[i + 1], '^(%d+):(%d+):(-?%d+)$')
  counters[ARGV[i]] = { start = tonumber(start), finish = finish, used = tonumber(used) }
end
local held = 0
for _, entry in ipairs(redis.call('HVALS', KEYS[2])) do
  local amount, funding, scopes = string.match(entry, '^(%d+)|(%a+)|%d+|[^|]*|%d+|%-?%d+|(.*)$')
  if funding == 'wallet' then
    held = held + tonumber(amount)
  end
  for counter, measure, start, finish in string.gmatch(scopes, 'w,([^,]+),(%a),(%d+),(%d+),') do
    local need = measure == 'u' and tonumber(amount) or 1
    local known = counters[counter]
    if not known or known.start < tonumber(start) then
      counters[counter] = { start = tonumber(start), finish = finish, used = need }
    elseif known.start == tonumber(start) then
      known.used = known.used + need
    end
  end
end

redis.call('DEL', KEYS[1])
local number = 0
for counter, window in pairs(counters) do
  redis.call('HSET', KEYS[1], 'c:' .. counter, text(window.start) .. ':' .. window.finish .. ':' .. text(window.used))
  number = number + 1
end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'posted', ARGV[3], 'version', ARGV[4], 'held', text(held),
  'counters', text(number), 'open', text(redis.call('HLEN', KEYS[2])))
return { 'REBUILT', before[2] or '', before[3] or '', ARGV[3], text(held), text(added), text(removed) }
