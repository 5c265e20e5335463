-- Takes a tenant's current projection apart, on command, so that it is laid anew from the ledger (quota_lay.lua). It is not
-- active from the first call on: who would reserve finds the tenant cold and waits for its wallet row.
--
-- KEYS[1]  tg:{tenant}:quota   KEYS[2]  tg:{tenant}:holds   (see quota_deduct.lua)
-- ARGV     1 epoch  2 install id  3 not after (ms, this server's clock)  4 posted  5 version
--          6 cursor: '' in the first call, then what the last one answered, until that is 0
-- Reply    TAKEN cursor posted_before held_before, then per hold that it met: id, entry
--          EPOCH epoch_of_hash installing ('' : none) | DAMAGED | LATE (nothing was written) | GONE (another took its place)
-- The caller holds the tenant's wallet row. Each hold stays, but as one that counts nothing in held and windows: one that
-- ends meanwhile goes, without a trace in what is laid. With the last call all count nothing, and held and posted begin
-- anew; the counters it has met stay, to be laid over, because a reading of them may be on its way (quota_learn.lua).
-- Only what is whole, as quota_deduct.lua means it, is taken apart: of anything else a hold may have gone that has no row.
-- A hold may be answered twice; its first entry is what it was. O(holds that one step of the cursor meets).

local FIELDS, HOLDS_A_CALL = 6, 200

local time = redis.call('TIME')
if tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000 > tonumber(ARGV[3]) then
  return { 'LATE' }
end

local mine = ARGV[1] .. ':' .. ARGV[2]
local cursor = ARGV[6]
local before = { '', '' }
if cursor == '' then
  local state = redis.pcall('HMGET', KEYS[1], 'epoch', 'posted', 'held', 'version', 'counters', 'open', 'installing')
  if state.err then
    return { 'DAMAGED' }
  end
  if state[1] ~= ARGV[1] then
    return { 'EPOCH', state[1] or '', state[7] or '' }
  end
  for i = 2, FIELDS do
    if not string.match(state[i] or '', '^%-?%d+$') then
      return { 'DAMAGED' }
    end
  end
  local open = redis.pcall('HLEN', KEYS[2])
  if redis.call('HLEN', KEYS[1]) ~= FIELDS + tonumber(state[5]) or open ~= tonumber(state[6]) then
    return { 'DAMAGED' }
  end
  redis.call('HDEL', KEYS[1], 'epoch')
  redis.call('HSET', KEYS[1], 'installing', mine)
  before = { state[2], state[3] }
  cursor = '0'
elseif redis.call('HGET', KEYS[1], 'installing') ~= mine then
  return { 'GONE' }
end

local step = redis.call('HSCAN', KEYS[2], cursor, 'COUNT', HOLDS_A_CALL)
local reply = { 'TAKEN', step[1], before[1], before[2] }
for i = 1, #step[2], 2 do
  local id, entry = step[2][i], step[2][i + 1]
  local rest, scopes = string.match(entry, '^%d+(|%a+|%d+|[^|]*|%d+|%-?%d+|)(.*)$')
  if not rest then
    return { 'DAMAGED' }
  end
  reply[#reply + 1] = id
  reply[#reply + 1] = entry
  -- Rolling counters are not laid anew, so an ending still corrects them.
  local rolling = {}
  for scope in string.gmatch(scopes, '[^;]+') do
    if string.sub(scope, 1, 2) == 'r,' then
      rolling[#rolling + 1] = scope
    end
  end
  redis.call('HSET', KEYS[2], id, '0' .. rest .. table.concat(rolling, ';'))
end
if step[1] == '0' then
  redis.call('HSET', KEYS[1], 'posted', ARGV[4], 'version', ARGV[5], 'held', '0')
end
return reply
