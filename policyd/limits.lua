-- SPDX-License-Identifier: BSD-2-Clause
--
-- Limits in Redis: looks at all charges of one request and charges them, all or none, in
-- one step. The arithmetic is policyd/core/window.c's: every number is an integer of at most
-- 2^53 - 1, so that doubles are exact. Fits or not is decided here; what is used, and when
-- to try again, the caller works out with window.c from what this found.
--
-- KEYS  one a charge; behind them the token's, when something is to be charged once
-- ARGV  [1] of each charge: window in ms, amount, max (doubles, little-endian), flags (a
--       byte: 1 hard, 2 look, 4 a set), the length of its member (a byte), the member
--       [1 + i] how long charge i's key lives, in ms: two windows
--
-- Returns F (all hard ones fit: charged) or O (a hard one is over: nothing charged), now in
-- ms (a double), how many charges (a byte), and 25 bytes of each, as it was found: "w" and
-- the value as stored, or of a set "m" (the member is in it) or "s" (it is not) and start,
-- current, previous. The same, and behind it ARGV[1], is kept under the token and returned
-- to who asks again ("U": undone, by limits_undo.lua). "!N": KEYS[N] holds what is not
-- ours; nothing was changed.
--
-- A window is a string of three doubles: start, current, previous. A set is a sorted set; a
-- member's score is the start of the bucket in which it was last seen. The highest one is
-- the current bucket's, all others belong to the previous one: the union of two buckets is
-- one key. MGET and struct instead of GETs and text halve the cost of a call.

local call, try, pack, read = redis.call, redis.pcall, struct.pack, struct.unpack
local floor = math.floor
local MOST = 9007199254740991 -- 2^53 - 1
local EMPTY = pack('<ddd', 0, 0, 0)

local count = #ARGV - 1
local values = call('MGET', unpack(KEYS))
local seen = values[count + 1]
if seen then
	return seen
end

local time = call('TIME')
local now = time[1] * 1000 + floor(time[2] / 1000)

-- Where the bucket began that is the current one now, given the stored one. A bucket more
-- than a window ahead belongs to a clock that was set back since: it is pulled back.
-- Second: the stored one's start after that.
local function starts(stored, window)
	local start = now - now % window
	if stored > start + window then
		stored = start
	end
	return start > stored and start or stored, stored
end

-- Over or not, what was found, and what to change; nil: not ours.
local function set_look(key, window, max, soft, look, member)
	local top = try('ZRANGE', key, -1, -1, 'WITHSCORES')
	local stored = not top.err and tonumber(top[2] or 0)
	if not stored or not (stored >= 0 and stored <= MOST and stored % 1 == 0) then
		return nil
	end
	local start, was = starts(stored, window)
	local current, previous, known = 0, 0, false
	if top[2] and start - was <= window then
		local score = tonumber(call('ZSCORE', key, member) or -1)
		current = call('ZCOUNT', key, stored, stored)
		if start > was then
			current, previous, known = 0, current, score == stored
		else
			previous, known = call('ZCARD', key) - current, score >= 0
		end
	end
	local used = current + previous
	local over = used >= max and not (known and used == max)
	local change = { stored = stored, was = was, start = start, window = window }
	if not look and (known or used < max or (soft and used == max)) then
		change.member = member
	end
	return over, (known and 'm' or 's') .. pack('<ddd', start, current, previous), change
end

local function set_change(key, change, member, life)
	if change.was ~= change.stored then -- pulled back
		local members = call('ZRANGE', key, 0, -1, 'WITHSCORES')
		for i = 1, #members, 2 do
			local current = tonumber(members[i + 1]) == change.stored
			call('ZADD', key, current and change.was or change.was - change.window, members[i])
		end
	elseif not member then
		return
	elseif change.start - change.was > change.window then
		call('DEL', key)
	elseif change.start > change.was then
		call('ZREMRANGEBYSCORE', key, '-inf', string.format('(%.0f', change.was))
	end
	if member then
		call('ZADD', key, change.start, member)
	end
	call('PEXPIRE', key, life)
end

local at, over, found = 1, false, pack('<dB', now, count)
-- Of each charge: a window rolled on to now, if that changes it; the same, charged; what to
-- change of a set; how long the key lives.
local rolled, charged, sets, lives = {}, {}, {}, {}
for i = 1, count do
	local key, value = KEYS[i], values[i]
	local window, amount, max, flags, member
	window, amount, max, flags, member, at = read('<dddBBc0', ARGV[1], at)
	local look = flags % 4 >= 2
	local start, is_over
	if flags >= 4 then
		local state, change
		is_over, state, change = set_look(key, window, max, flags % 2 == 0, look, member)
		if is_over == nil then
			return '!' .. i
		end
		found = found .. state
		start = change.start
		sets[i] = change
	else
		local stored, current, previous = 0, 0, 0
		if value then
			if #value ~= 24 then
				return '!' .. i
			end
			stored, current, previous = read('<ddd', value)
			if not (stored >= 0 and stored <= MOST and current >= 0 and current <= MOST and
				previous >= 0 and previous <= MOST and
				stored % 1 + current % 1 + previous % 1 == 0) then
				return '!' .. i
			end
		elseif try('GET', key) then -- MGET sees nothing where no string is
			return '!' .. i
		else
			value = EMPTY
		end
		found = found .. 'w' .. value
		local was
		start, was = starts(stored, window)
		if start > was then
			previous = start - was <= window and current or 0
			current = 0
		end
		local used = current
		if previous > 0 then -- its share, in steps of 1/65536 of the window, rounded up
			local left = start > now and window or window - (now - start)
			local steps = floor((left * 65536 + window - 1) / window)
			local whole = floor(previous / 65536)
			used = current + whole * steps +
				floor(((previous - whole * 65536) * steps + 65535) / 65536)
			used = used < MOST and used or MOST
		end
		is_over = amount > max or used > max - amount
		if start ~= stored and value ~= EMPTY then
			rolled[i] = pack('<ddd', start, current, previous)
		end
		if not look then
			current = current + amount
			charged[i] = pack('<ddd', start, current < MOST and current or MOST, previous)
		end
	end
	-- The clock was set back: the bucket ends up to a window later.
	lives[i] = start > now and 3 * window or ARGV[i + 1]
	over = over or is_over and flags % 2 == 1
end

local outcome = (over and 'O' or 'F') .. found
local token = KEYS[count + 1]
if token and not call('SET', token, outcome .. ARGV[1], 'PX', '900000', 'NX') then
	return '!' .. (count + 1)
end
for i = 1, count do
	local key, set = KEYS[i], sets[i]
	local window = not over and charged[i] or rolled[i]
	if window then
		call('SET', key, window, 'PX', lives[i])
	elseif set then
		set_change(key, set, not over and set.member, lives[i])
	end
end
return outcome
