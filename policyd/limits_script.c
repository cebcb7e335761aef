/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/limits_script.h"

#include "common/cleanup.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Beside prefix and key or token: braces, "=" or ":", NUL. */
#define KEY_BESIDE 4

/* Three doubles, flags, the member's length and the member. */
#define CHARGE_FIXED_BYTES (3 * 8 + 2)
#define CHARGE_BYTES       (CHARGE_FIXED_BYTES + CHARGE_MEMBER_MAX)

/* Two windows in ms: a window's seconds are a uint32_t. */
#define LIFE_BYTES 16

/* Verb, script, number of keys; keys and token; charges, lives. */
#define WORDS_MAX (3 + LIMITS_MAX + 1 + 1 + LIMITS_MAX)

/* In a reply: letter, time and number of charges; what was found of one charge. */
#define HEAD_BYTES  10
#define FOUND_BYTES 25

struct found {
	bool fits;
	int64_t now_ms;
	unsigned count;
	const char *at;
};

enum charge_flag { FLAG_HARD = 1, FLAG_LOOK = 2, FLAG_SET = 4 };

struct limits_script {
	char *prefix;
	size_t prefix_len;
	const char *argv[WORDS_MAX];
	size_t argv_len[WORDS_MAX];
	int argc;
	char number[8];
	char lives[LIMITS_MAX][LIFE_BYTES];
	char charges[LIMITS_MAX * CHARGE_BYTES];
	char keys[]; /* LIMITS_MAX + 1 of the largest */
};

static size_t key_size(size_t prefix_len)
{
	return prefix_len + CHARGE_KEY_MAX + KEY_BESIDE;
}

static size_t keys_size(size_t prefix_len)
{
	return (LIMITS_MAX + 1) * key_size(prefix_len) + LIMITS_TOKEN_MAX;
}

int limits_script_new(const char *prefix, struct limits_script **ret)
{
	size_t prefix_len = strlen(prefix);
	struct limits_script *script = malloc(sizeof(*script) + keys_size(prefix_len));
	if (!script)
		return -ENOMEM;
	script->prefix = strdup(prefix);
	if (!script->prefix) {
		free(script);
		return -ENOMEM;
	}
	script->prefix_len = prefix_len;
	*ret = script;
	return 0;
}

struct limits_script *limits_script_free(struct limits_script *script)
{
	if (script)
		free(script->prefix);
	free(script);
	return NULL;
}

const char *limits_script_prefix(const struct limits_script *script)
{
	return script->prefix;
}

size_t limits_script_key_size(const char *prefix)
{
	return key_size(strlen(prefix));
}

static char *put(char *at, const char *bytes, size_t len)
{
	memcpy(at, bytes, len);
	return at + len;
}

/* PREFIX{SUBJECT}, then @mark. */
static char *put_subject(
    char *at, const char *prefix, size_t prefix_len, const char *subject, size_t len,
    char mark)
{
	at = put(at, prefix, prefix_len);
	*at++ = '{';
	at = put(at, subject, len);
	*at++ = '}';
	*at++ = mark;
	return at;
}

static char *put_key(
    char *at, const char *prefix, size_t prefix_len, const char *key, size_t key_len,
    size_t subject_at)
{
	assert(subject_at <= key_len && key_len <= CHARGE_KEY_MAX);
	at = put_subject(
	    at, prefix, prefix_len, key + subject_at, key_len - subject_at, ':');
	return subject_at > 0 ? put(at, key, subject_at - 1) : at;
}

size_t limits_script_key(
    const char *prefix, const char *key, size_t key_len, size_t subject_at, char *buf)
{
	char *end = put_key(buf, prefix, strlen(prefix), key, key_len, subject_at);
	*end = '\0';
	return (size_t)(end - buf);
}

bool limits_script_key_back(
    const char *prefix, const char *key, size_t key_len, char *buf, size_t *ret_len)
{
	size_t prefix_len = strlen(prefix);
	if (key_len <= prefix_len || memcmp(key, prefix, prefix_len) != 0 ||
	    key[prefix_len] != '{')
		return false;
	const char *subject = key + prefix_len + 1, *end = key + key_len;
	const char *brace = memchr(subject, '}', (size_t)(end - subject));
	if (!brace || end - brace < 2 || brace[1] != ':')
		return false;
	const char *name = brace + 2;
	size_t len = (size_t)(end - name) + 1 + (size_t)(brace - subject);
	if (len >= CHARGE_KEY_MAX)
		return false;
	char *at = put(buf, name, (size_t)(end - name));
	*at++ = ':';
	put(at, subject, (size_t)(brace - subject));
	*ret_len = len;
	return true;
}

static void add_word(struct limits_script *script, const char *word, size_t len)
{
	script->argv[script->argc] = word;
	script->argv_len[script->argc++] = len;
}

static void add_verb(struct limits_script *script, enum limits_verb verb, size_t keys)
{
	script->argc = 0;
	switch (verb) {
	case LIMITS_EVALSHA:
		add_word(script, "EVALSHA", 7);
		add_word(script, lua_limits_sha, strlen(lua_limits_sha));
		break;
	case LIMITS_EVAL:
		add_word(script, "EVAL", 4);
		add_word(script, lua_limits, strlen(lua_limits));
		break;
	case LIMITS_UNDO:
		add_word(script, "EVAL", 4);
		add_word(script, lua_limits_undo, strlen(lua_limits_undo));
		break;
	}
	int len = snprintf(script->number, sizeof(script->number), "%zu", keys);
	add_word(script, script->number, (size_t)len);
}

/* As a double; what is above the largest exact integer stays above it. */
static char *put_number(char *at, uint64_t number)
{
	double value = (double)(number > WINDOW_USE_MAX ? WINDOW_USE_MAX + 1 : number);
	uint64_t bits;
	memcpy(&bits, &value, sizeof(bits));
	bits = htole64(bits);
	return put(at, (const char *)&bits, sizeof(bits));
}

static char *put_charge(char *at, const struct charge *charge)
{
	unsigned flags = (charge->hard ? FLAG_HARD : 0) | (charge->look ? FLAG_LOOK : 0) |
			 (charge->member_len > 0 ? FLAG_SET : 0);
	uint64_t max = charge->max < WINDOW_USE_MAX ? charge->max : WINDOW_USE_MAX;
	assert(charge->window_s > 0 && charge->member_len <= CHARGE_MEMBER_MAX);
	at = put_number(at, UINT64_C(1000) * charge->window_s);
	at = put_number(at, charge->amount);
	at = put_number(at, max);
	*at++ = (char)flags;
	*at++ = (char)charge->member_len;
	return put(at, charge->member, charge->member_len);
}

/* snprintf() is most of what composing a call would cost. */
static size_t print_life(uint32_t window_s, char buf[static LIFE_BYTES])
{
	char digits[LIFE_BYTES];
	size_t len = 0, out = 0;
	for (uint64_t n = UINT64_C(2000) * window_s; n > 0; n /= 10)
		digits[len++] = (char)('0' + n % 10);
	while (len > 0)
		buf[out++] = digits[--len];
	return out;
}

static char *put_token(
    char *at, const struct limits_script *script, const struct charge *first,
    const struct store_request *request, bool tagged)
{
	assert(request->token_len <= LIMITS_TOKEN_MAX);
	if (tagged) {
		at = put_subject(
		    at, script->prefix, script->prefix_len,
		    first->key + first->subject_at,
		    (size_t)(first->key_len - first->subject_at), '=');
	} else {
		at = put(at, script->prefix, script->prefix_len);
		*at++ = '=';
	}
	return put(at, request->token, request->token_len);
}

void limits_script_compose(
    struct limits_script *script, enum limits_verb verb,
    const struct store_request *request, uint64_t members, bool tagged,
    struct limits_call *ret)
{
	char *key = script->keys, *charges = script->charges;
	const struct charge *first = NULL;
	assert(members != 0);
	add_verb(
	    script, verb,
	    (size_t)__builtin_popcountll(members) + (request->token_len > 0 ? 1 : 0));
	int keys_at = script->argc;
	for (uint64_t left = members; left; left &= left - 1) {
		const struct charge *charge = &request->charges[__builtin_ctzll(left)];
		char *end = put_key(
		    key, script->prefix, script->prefix_len, charge->key, charge->key_len,
		    charge->subject_at);
		add_word(script, key, (size_t)(end - key));
		key = end;
		charges = put_charge(charges, charge);
		if (!first)
			first = charge;
	}
	if (request->token_len > 0) {
		char *end = put_token(key, script, first, request, tagged);
		add_word(script, key, (size_t)(end - key));
	}
	add_word(script, script->charges, (size_t)(charges - script->charges));
	size_t i = 0;
	for (uint64_t left = members; left; left &= left - 1, i++)
		add_word(
		    script, script->lives[i],
		    print_life(
			request->charges[__builtin_ctzll(left)].window_s,
			script->lives[i]));
	*ret = (struct limits_call){
	    .argc = script->argc,
	    .argv = script->argv,
	    .argv_len = script->argv_len,
	    .key = script->argv[keys_at],
	    .key_len = script->argv_len[keys_at],
	};
}

/* False: no integer that a counter or a time could be. */
static bool read_number(const char *bytes, uint64_t *ret)
{
	uint64_t bits;
	double value;
	memcpy(&bits, bytes, sizeof(bits));
	bits = le64toh(bits);
	memcpy(&value, &bits, sizeof(value));
	if (!(value >= 0 && value <= (double)WINDOW_USE_MAX))
		return false;
	*ret = (uint64_t)value;
	return true;
}

static bool read_window(const char *bytes, struct window *ret)
{
	uint64_t start;
	if (!read_number(bytes, &start) || !read_number(bytes + 8, &ret->current) ||
	    !read_number(bytes + 16, &ret->previous))
		return false;
	ret->start_ms = (int64_t)start;
	return true;
}

static struct charge_result amount_result(
    const struct charge *charge, struct window *window, int64_t now_ms, bool charged)
{
	struct charge_result result =
	    window_look(window, charge->window_s, now_ms, charge->amount, charge->max);
	if (charged)
		result.used = charge->amount < WINDOW_USE_MAX - result.used
				  ? result.used + charge->amount
				  : WINDOW_USE_MAX;
	return result;
}

static struct charge_result set_result(
    const struct charge *charge, struct window *window, int64_t now_ms, bool is_member,
    bool charged)
{
	struct charge_result result =
	    distinct_look(window, charge->window_s, now_ms, is_member, charge->max);
	/* Of a soft one one member more than max is kept. */
	if (charged && !is_member &&
	    (!result.over || (!charge->hard && result.used == charge->max)))
		result.used++;
	return result;
}

/* False: not ours. */
static bool read_found(
    const struct charge *charge, const char *found, int64_t now_ms, bool fits,
    struct charge_result *ret)
{
	struct window window;
	bool charged = fits && !charge->look;
	if ((found[0] == 'w') != (charge->member_len == 0) ||
	    !read_window(found + 1, &window))
		return false;
	*ret = charge->member_len == 0
		   ? amount_result(charge, &window, now_ms, charged)
		   : set_result(charge, &window, now_ms, found[0] == 'm', charged);
	return true;
}

/* A charge as put_charge() wrote it, without its key; what is behind it, or NULL. */
static const char *read_charge(const char *at, const char *end, struct charge *ret)
{
	uint64_t window_ms;
	if (end - at < CHARGE_FIXED_BYTES || !read_number(at, &window_ms) ||
	    window_ms < 1000 || window_ms / 1000 > UINT32_MAX)
		return NULL;
	unsigned flags = (unsigned char)at[24];
	ret->window_s = (uint32_t)(window_ms / 1000);
	if (!read_number(at + 8, &ret->amount))
		ret->amount = WINDOW_USE_MAX + 1;
	if (!read_number(at + 16, &ret->max))
		return NULL;
	ret->hard = flags & FLAG_HARD;
	ret->look = flags & FLAG_LOOK;
	ret->member_len = (unsigned char)at[25];
	at += CHARGE_FIXED_BYTES;
	return ret->member_len <= end - at ? at + ret->member_len : NULL;
}

/*
 * What a token remembers is told of the charges of then, which a reload may have changed.
 * Where all charges went into one call their number may be another one, too.
 */
static bool read_remembered(
    const struct store_request *request, uint64_t members, const struct found *found,
    const char *charges, const char *end, struct charge_result *results,
    uint64_t *ret_known)
{
	bool whole = (unsigned)__builtin_popcountll(members) == request->count;
	struct charge charge UNINITIALIZED;
	for (unsigned n = 0; n < found->count; n++) {
		charges = read_charge(charges, end, &charge);
		struct charge_result result;
		if (!charges || !read_found(
				    &charge, found->at + n * FOUND_BYTES, found->now_ms,
				    found->fits, &result))
			return false;
		int i = whole ? (int)n : members ? __builtin_ctzll(members) : -1;
		members &= members - 1;
		if (i < 0 || i >= LIMITS_MAX)
			continue;
		results[i] = result;
		*ret_known |= UINT64_C(1) << i;
	}
	return charges == end;
}

static bool read_fresh(
    const struct store_request *request, uint64_t members, const struct found *found,
    struct charge_result *results, uint64_t *ret_known)
{
	const char *at = found->at;
	if (found->count != (unsigned)__builtin_popcountll(members))
		return false;
	for (uint64_t left = members; left; left &= left - 1, at += FOUND_BYTES) {
		int i = __builtin_ctzll(left);
		if (!read_found(
			&request->charges[i], at, found->now_ms, found->fits,
			&results[i]))
			return false;
	}
	*ret_known = members;
	return true;
}

/* "!N": the N-th key, which stands behind the call's three first words. */
static size_t bad_word(const char *reply, size_t len)
{
	size_t n = 0;
	for (size_t i = 1; i < len && i < 4; i++)
		n = n * 10 + (size_t)(reply[i] - '0');
	return n + 2;
}

enum limits_result limits_script_read(
    const struct store_request *request, uint64_t members, const char *reply, size_t len,
    struct charge_result *results, uint64_t *ret_known, size_t *ret_bad)
{
	uint64_t now_ms;
	*ret_bad = 0;
	*ret_known = 0;
	if (len > 0 && reply[0] == 'U')
		return LIMITS_UNDONE;
	if (len > 1 && reply[0] == '!') {
		*ret_bad = bad_word(reply, len);
		return LIMITS_BAD_KEY;
	}
	if (len < HEAD_BYTES || (reply[0] != 'F' && reply[0] != 'O') ||
	    !read_number(reply + 1, &now_ms))
		return LIMITS_BAD_KEY;
	const struct found found = {
	    .fits = reply[0] == 'F',
	    .now_ms = (int64_t)now_ms,
	    .count = (unsigned char)reply[9],
	    .at = reply + HEAD_BYTES,
	};
	const char *end = reply + len, *charges = found.at + found.count * FOUND_BYTES;
	if (end < charges ||
	    !(charges == end
		  ? read_fresh(request, members, &found, results, ret_known)
		  : read_remembered(
			request, members, &found, charges, end, results, ret_known)))
		return LIMITS_BAD_KEY;
	return found.fits ? LIMITS_FIT : LIMITS_OVER;
}
