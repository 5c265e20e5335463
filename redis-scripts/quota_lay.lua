-- Lays a part of a tenant's projection that is not active: one just begun (quota_install.lua) or taken apart
-- (quota_rebuild.lua).
--
-- KEYS[1]  tg:{tenant}:quota   KEYS[2]  tg:{tenant}:holds   (see quota_deduct.lua)
-- ARGV     1 epoch:install id  2 not after (ms, this server's clock)  3.. three an item, counters first: kind, name, value
--               c counter: name, start:end:used of its committed charges
--               o hold whose charge is open in the ledger: id, entry
--               r hold that has no row: id, entry; nothing where it was released meanwhile
--               e hold whose charge has ended: id, ''
-- Reply    LAID holds_added holds_removed held | GONE (another install has taken its place) | LATE
-- The caller holds the tenant's wallet row. A hold counts in held and in its windows with the part that lays it, and in
-- nothing before: an ending between two parts takes back what its entry says, or finds none. So between any two parts held,
-- open and counters are those of the entries as they stand. Not twice. O(items and their scopes): the caller bounds them.

local FIRST, PER_ITEM = 3, 3

if redis.call('HGET', KEYS[1], 'installing') ~= ARGV[1] then
  return { 'GONE' }
end
local time = redis.call('TIME')
if tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000 > tonumber(ARGV[2]) then
  return { 'LATE' }
end

local function text(number)
  return string.format('%.0f', number)
end

local function window(value)
  local start, finish, used = string.match(value, '^(%d+):(%d+):(-?%d+)$')
  return { start = tonumber(start), finish = finish, used = tonumber(used) }
end

local windows = {}
local held, added, removed = 0, 0, 0

-- A newer window follows an older one, whichever is met first.
local function count(counter, start, finish, need)
  local known = windows[counter]
  if not known then
    local value = redis.call('HGET', KEYS[1], 'c:' .. counter)
    known = value and window(value) or { start = -1 }
    windows[counter] = known
  end
  if known.start < start then
    known.start, known.finish, known.used = start, finish, need
  elseif known.start == start then
    known.used = known.used + need
  end
end

local function lay_hold(id, entry)
  added = added + redis.call('HSET', KEYS[2], id, entry)
  local amount, funding, scopes = string.match(entry, '^(%d+)|(%a+)|%d+|[^|]*|%d+|%-?%d+|(.*)$')
  amount = tonumber(amount)
  if funding == 'wallet' then
    held = held + amount
  end
  for counter, measure, start, finish in string.gmatch(scopes, 'w,([^,]+),(%a),(%d+),(%d+),') do
    count(counter, tonumber(start), finish, measure == 'u' and amount or 1)
  end
end

for i = FIRST, #ARGV, PER_ITEM do
  local kind, name, value = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if kind == 'c' then
    windows[name] = window(value)
  elseif kind == 'e' then
    removed = removed + redis.call('HDEL', KEYS[2], name)
  elseif kind == 'o' or redis.call('HEXISTS', KEYS[2], name) == 1 then
    lay_hold(name, value)
  end
end

local met = 0
for counter, now in pairs(windows) do
  met = met + redis.call('HSET', KEYS[1], 'c:' .. counter, text(now.start) .. ':' .. now.finish .. ':' .. text(now.used))
end
redis.call('HINCRBY', KEYS[1], 'counters', text(met))
redis.call('HINCRBY', KEYS[1], 'open', text(added - removed))
return { 'LAID', text(added), text(removed), text(redis.call('HINCRBY', KEYS[1], 'held', text(held))) }
