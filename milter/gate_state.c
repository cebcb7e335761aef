/* SPDX-License-Identifier: BSD-2-Clause */
#include "milter/gate_state.h"

#include <assert.h>
#include <string.h>

static enum gate_change observe_match(struct gate_record *record, int64_t now_s)
{
	unsigned misses = record->misses;
	record->misses = 0;
	if (record->seen.state == GATE_PUBLISHED) {
		/* A clock that was put back: it was seen now at the latest. */
		if (record->seen.since_s > now_s)
			record->seen.since_s = now_s;
		return misses ? GATE_CAME_BACK : GATE_SAME;
	}
	record->seen = (struct gate_seen){GATE_PUBLISHED, now_s};
	return GATE_APPEARED;
}

static enum gate_change observe_miss(
    struct gate_record *record, bool same_reason, int64_t now_s, uint32_t apart_s)
{
	switch (record->seen.state) {
	case GATE_PUBLISHED:
		if (record->misses > 0 && now_s >= record->missed_s &&
		    now_s - record->missed_s < (int64_t)apart_s)
			return GATE_SAME;
		record->missed_s = now_s;
		record->misses++;
		if (record->misses < GATE_MISSES)
			return record->misses == 1 ? GATE_MISSED : GATE_SAME;
		record->misses = 0;
		record->seen = (struct gate_seen){GATE_UNPUBLISHED, now_s};
		return GATE_VANISHED;
	case GATE_UNPUBLISHED:
		return same_reason ? GATE_SAME : GATE_STILL_WRONG;
	case GATE_UNKNOWN:
		record->seen = (struct gate_seen){GATE_UNPUBLISHED, now_s};
		return GATE_NOT_THERE;
	case GATE_NOT_REQUIRED:
		return GATE_SAME;
	}
	assert(0);
	return GATE_SAME;
}

enum gate_change gate_observe(
    struct gate_record *record, enum gate_answer answer, int64_t now_s, uint32_t apart_s)
{
	enum gate_answer before = record->last;
	if (record->seen.state == GATE_NOT_REQUIRED)
		return GATE_SAME;
	/* The reason of an unpublished key outlives a time-out. */
	if (answer != GATE_NO_ANSWER)
		record->last = answer;
	switch (answer) {
	case GATE_MATCHES:
		return observe_match(record, now_s);
	case GATE_NO_NAME:
	case GATE_NO_DATA:
	case GATE_OTHER:
		/* Of a state that was kept on disk nobody knows the reason: no news. */
		return observe_miss(
		    record, before == answer || before == GATE_NO_ANSWER, now_s, apart_s);
	case GATE_NO_ANSWER:
		return GATE_SAME;
	}
	assert(0);
	return GATE_SAME;
}

static bool has_settled(const struct gate_seen *seen, int64_t now_s, uint32_t settle_s)
{
	switch (seen->state) {
	case GATE_NOT_REQUIRED:
		return true;
	case GATE_PUBLISHED:
		return now_s - seen->since_s >= (int64_t)settle_s;
	case GATE_UNKNOWN:
	case GATE_UNPUBLISHED:
		return false;
	}
	assert(0);
	return false;
}

size_t gate_choose(
    const struct gate_seen *keys, size_t count, int64_t now_s, uint32_t settle_s)
{
	size_t oldest = count, unknown = count;
	for (size_t i = 0; i < count; i++) {
		if (has_settled(&keys[i], now_s, settle_s))
			return i;
		if (keys[i].state == GATE_PUBLISHED &&
		    (oldest == count || keys[i].since_s < keys[oldest].since_s))
			oldest = i;
		if (keys[i].state == GATE_UNKNOWN && unknown == count)
			unknown = i;
	}
	return oldest < count ? oldest : unknown;
}

int64_t gate_settles_at(const struct gate_seen *seen, int64_t now_s, uint32_t settle_s)
{
	if (seen->state != GATE_PUBLISHED || has_settled(seen, now_s, settle_s))
		return INT64_MAX;
	return seen->since_s + (int64_t)settle_s;
}

uint64_t gate_seen_pack(struct gate_seen seen)
{
	return (uint64_t)seen.since_s << 2 | (uint64_t)seen.state;
}

struct gate_seen gate_seen_unpack(uint64_t word)
{
	return (struct gate_seen){(enum gate_state)(word & 3), (int64_t)(word >> 2)};
}

const char *gate_state_name(enum gate_state state)
{
	switch (state) {
	case GATE_UNKNOWN:
		return "unknown";
	case GATE_UNPUBLISHED:
		return "unpublished";
	case GATE_PUBLISHED:
		return "published";
	case GATE_NOT_REQUIRED:
		return "not required";
	}
	assert(0);
	return "";
}

bool gate_state_parse(const char *name, enum gate_state *ret)
{
	static const enum gate_state kept[] = {GATE_PUBLISHED, GATE_UNPUBLISHED};
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		if (strcmp(name, gate_state_name(kept[i])) == 0) {
			*ret = kept[i];
			return true;
		}
	}
	return false;
}
