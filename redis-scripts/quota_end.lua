-- Ends holds. A committed charge installs what the ledger has posted and corrects its counters to what it cost; a voided
-- one gives back everything it counted.
--
-- KEYS[1]  tg:{tenant}:quota   KEYS[2]  tg:{tenant}:holds   (see quota_deduct.lua, also for the rate keys)
-- ARGV     1 posted ('': these are voided)  2 version  3.. three a hold: id, amount, tokens (both '0' where voided)
-- Reply    number of holds that were open
-- posted is absolute and applied only when its version is newer, an unknown hold changes nothing: twice, late and out of
-- order are harmless. Deltas go to the window frozen in the entry; one that has passed has no counter any more. No epoch is
-- compared: an entry in the hash belongs to the hash's epoch whoever installed it, and a hash of an old epoch is rebuilt
-- before it is used again. A cold tenant stays cold: its named holds go, and there is nothing to correct. Nor is a field
-- made that is gone: by its absence quota_deduct.lua knows the damage. O(holds named).

local SECONDS = 60

local is_commit = ARGV[1] ~= ''
local known = redis.call('HMGET', KEYS[1], 'version', 'held', 'open')
if is_commit and known[1] and tonumber(ARGV[2]) > tonumber(known[1]) then
  redis.call('HSET', KEYS[1], 'posted', ARGV[1], 'version', ARGV[2])
end

local function text(number)
  return string.format('%.0f', number)
end

local function correct_window(counter, start, delta)
  local field = 'c:' .. counter
  local now_start, rest, used = string.match(redis.call('HGET', KEYS[1], field) or '', '^(%d+)(:%d+:)(-?%d+)$')
  if now_start == start then
    redis.call('HSET', KEYS[1], field, now_start .. rest .. text(tonumber(used) + delta))
  end
end

-- A second that has left the sixty has nothing to be corrected, nor has a counter that cannot be read.
local function correct_rolling(counter, start, delta)
  local key = string.gsub(KEYS[1], 'quota$', 'rate:') .. counter
  local at = tonumber(redis.pcall('HGET', key, 'at'))
  local second = tonumber(start) / 1000
  if at and second <= at and at - second < SECONDS then
    redis.pcall('HINCRBY', key, tostring(second % SECONDS), text(delta))
    redis.pcall('HINCRBY', key, 'sum', text(delta))
  end
end

local ended = 0
for i = 3, #ARGV, 3 do
  local entry = redis.call('HGET', KEYS[2], ARGV[i])
  if entry then
    redis.call('HDEL', KEYS[2], ARGV[i])
    if known[3] then
      redis.call('HINCRBY', KEYS[1], 'open', -1)
    end
    ended = ended + 1
    local amount, funding, tokens, scopes = string.match(entry, '^(%d+)|(%a+)|(%d+)|[^|]*|%d+|%-?%d+|(.*)$')
    -- Redis takes -0 for no number and would end the script here, with the entry gone and later holds left.
    if known[2] and funding == 'wallet' and amount ~= '0' then
      redis.call('HINCRBY', KEYS[1], 'held', '-' .. amount)
    end
    local deltas = { r = is_commit and 0 or -1, u = tonumber(ARGV[i + 1]) - tonumber(amount), t = tonumber(ARGV[i + 2]) - tonumber(tokens) }
    for kind, counter, measure, start in string.gmatch(scopes, '(%a),([^,]+),(%a),(%d+),') do
      if deltas[measure] ~= 0 then
        if kind == 'w' then
          correct_window(counter, start, deltas[measure])
        else
          correct_rolling(counter, start, deltas[measure])
        end
      end
    end
  end
end
return ended
