-- SPDX-License-Identifier: BSD-2-Clause
--
-- One counter as it stands, for an operator. KEYS[1]: see limits.lua. Returns now in ms,
-- start, current, previous; nil: there is none, or it is not ours.

local key = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local value = redis.pcall('GET', key)
if not value then
	return nil
end
if type(value) == 'string' then
	if #value ~= 24 then
		return nil
	end
	local start, current, previous = struct.unpack('<ddd', value)
	return { now, start, current, previous }
end
local top = redis.pcall('ZRANGE', key, -1, -1, 'WITHSCORES')
if top.err or not top[2] then
	return nil
end
local start = tonumber(top[2])
local current = redis.call('ZCOUNT', key, start, start)
return { now, start, current, redis.call('ZCARD', key) - current }
