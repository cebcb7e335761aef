/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What Redis does for the roster, each in one step. A set (the blocks, the logins) is
 * three keys of one hash tag: a hash "name -> made until kind text" (milliseconds of
 * Redis's clock; until 0: no end; kind K keeps, R is a tombstone), the names by the
 * number of their last change, and by when they end. In the hash "" counts the changes
 * and "@" is the epoch: another one, or a number that went back, says that Redis has
 * forgotten.
 */

/*
 * KEYS: hash, changes, ends. ARGV: most records, "drop" or "refuse" when there are more,
 * the channel, a random text (of a new epoch), and of each change its name, "age" or
 * "at", so many milliseconds ago or when, after when at least, how long it holds (-1: no
 * end), kind, text. Returns per change when it was made, the record that is younger and
 * stays, or "full".
 */
static const char roster_write[] =
    "local t = redis.call('TIME')\n"
    "local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
    "local hash, changes, ends = KEYS[1], KEYS[2], KEYS[3]\n"
    "local max, drop = tonumber(ARGV[1]), ARGV[2] == 'drop'\n"
    "local function int(n) return string.format('%.0f', n) end\n"
    "local function forget(name)\n"
    "  redis.call('HDEL', hash, name)\n"
    "  redis.call('ZREM', changes, name)\n"
    "  redis.call('ZREM', ends, name)\n"
    "end\n"
    "if redis.replicate_commands then redis.replicate_commands() end\n"
    "for _, name in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', int(now), 'LIMIT', "
    "0, 200)) do forget(name) end\n"
    "if redis.call('HEXISTS', hash, '@') == 0 then\n"
    "  redis.call('DEL', changes, ends, hash)\n"
    "  redis.call('HSET', hash, '@', t[1] .. '.' .. t[2] .. '.' .. ARGV[4])\n"
    "end\n"
    "local result, changed = {}, false\n"
    "for i = 5, #ARGV, 7 do\n"
    "  local name, how, when = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])\n"
    "  local base, left = tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4])\n"
    "  local kind, text = ARGV[i + 5], ARGV[i + 6]\n"
    "  local made = how == 'age' and math.max(now - when, base + 1) or math.min(when, "
    "now)\n"
    "  local old = redis.call('ZSCORE', changes, name) and redis.call('HGET', hash, "
    "name)\n"
    "  local old_made = old and tonumber(string.match(old, '^(%d+) '))\n"
    "  if old_made and old_made >= made then\n"
    "    result[#result + 1] = old_made == made and int(made) or old\n"
    "  elseif left == 0 then\n"
    "    if old then forget(name) end\n"
    "    result[#result + 1] = int(made)\n"
    "  else\n"
    "    if not old and redis.call('ZCARD', changes) >= max and drop then\n"
    "      local oldest = redis.call('ZRANGE', changes, 0, 0)\n"
    "      if oldest[1] then forget(oldest[1]) end\n"
    "    end\n"
    "    if not old and redis.call('ZCARD', changes) >= max then\n"
    "      result[#result + 1] = 'full'\n"
    "    else\n"
    "      local ends_at = left < 0 and 0 or now + left\n"
    "      local number = redis.call('HINCRBY', hash, '', 1)\n"
    "      redis.call('HSET', hash, name, int(made) .. ' ' .. int(ends_at) .. ' ' .. "
    "kind .. ' ' .. text)\n"
    "      redis.call('ZADD', changes, int(number), name)\n"
    "      if left < 0 then redis.call('ZREM', ends, name)\n"
    "      else redis.call('ZADD', ends, int(ends_at), name) end\n"
    "      result[#result + 1], changed = int(made), true\n"
    "    end\n"
    "  end\n"
    "end\n"
    "for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, 2592000000) end\n"
    "if changed then redis.pcall('PUBLISH', ARGV[3], '') end\n"
    "return result\n";

/*
 * KEYS: as above. ARGV: the number of the last change that is known, how many to return.
 * Returns the epoch, the number of the last change, Redis's clock, and the name, number
 * and record of each later change, in their order.
 */
static const char roster_read[] =
    "local t = redis.call('TIME')\n"
    "local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
    "local hash, changes = KEYS[1], KEYS[2]\n"
    "local meta = redis.call('HMGET', hash, '@', '')\n"
    "local result = {meta[1] or '', meta[2] or '0', string.format('%.0f', now)}\n"
    "local found = redis.call('ZRANGEBYSCORE', changes, '(' .. ARGV[1], '+inf', "
    "'WITHSCORES', 'LIMIT', 0, ARGV[2])\n"
    "for i = 1, #found, 2 do\n"
    "  result[#result + 1] = found[i]\n"
    "  result[#result + 1] = string.format('%.0f', found[i + 1])\n"
    "  result[#result + 1] = redis.call('HGET', hash, found[i]) or ''\n"
    "end\n"
    "return result\n";
