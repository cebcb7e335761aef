/* SPDX-License-Identifier: BSD-2-Clause */
#include "milter/gate_state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A story is a string, an answer a letter: (M)atches, (N)o name, no (D)ata, (O)ther, (-)
 * no answer. The changes are told in letters too, in the order of enum gate_change. */
static const char answers[] = "MNDO-";
static const char changes[] = "=AmbVnw";

static const struct {
	const char *why;
	enum gate_state from;
	const char *story, *told;
	enum gate_state to;
	int64_t
	    since_s; /* the first answer comes at 1000, the next ones a second later */
} stories[] = {
    {"the first answer of all", GATE_UNKNOWN, "M", "A", GATE_PUBLISHED, 1000},
    {"no answer is no state", GATE_UNKNOWN, "---", "===", GATE_UNKNOWN, 500},
    {"not published, and never was: at once", GATE_UNKNOWN, "N", "n", GATE_UNPUBLISHED,
     1000},
    {"another key, and never ours", GATE_UNKNOWN, "O", "n", GATE_UNPUBLISHED, 1000},
    {"a record without data", GATE_UNKNOWN, "D", "n", GATE_UNPUBLISHED, 1000},
    {"told once", GATE_UNKNOWN, "NNN", "n==", GATE_UNPUBLISHED, 1000},
    {"told again when the reason changes", GATE_UNKNOWN, "NNOOD", "n=w=w",
     GATE_UNPUBLISHED, 1000},
    {"a reason from before the restart is no news", GATE_UNPUBLISHED, "N", "=",
     GATE_UNPUBLISHED, 500},
    {"it appears", GATE_UNPUBLISHED, "NNMM", "==A=", GATE_PUBLISHED, 1002},
    {"one answer takes nothing away", GATE_PUBLISHED, "N", "m", GATE_PUBLISHED, 500},
    {"nor two", GATE_PUBLISHED, "NO", "m=", GATE_PUBLISHED, 500},
    {"three do", GATE_PUBLISHED, "NOD", "m=V", GATE_UNPUBLISHED, 1002},
    {"in a row", GATE_PUBLISHED, "NNMNNM", "m=bm=b", GATE_PUBLISHED, 500},
    {"no answer neither counts nor begins anew", GATE_PUBLISHED, "N-N--N", "m====V",
     GATE_UNPUBLISHED, 1005},
    {"no answer takes nothing away", GATE_PUBLISHED, "---------",
     "=========", GATE_PUBLISHED, 500},
    {"no answer gives nothing", GATE_UNPUBLISHED, "---", "===", GATE_UNPUBLISHED, 500},
    {"no answer is no new reason", GATE_UNKNOWN, "N-N", "n==", GATE_UNPUBLISHED, 1000},
    {"gone and back: settles anew", GATE_PUBLISHED, "NNNM", "m=VA", GATE_PUBLISHED, 1003},
    {"nobody asks", GATE_NOT_REQUIRED, "NNNNM-", "======", GATE_NOT_REQUIRED, 500},
};

static void test_stories(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(stories) / sizeof(stories[0]); i++) {
		struct gate_record record = {
		    .seen = {stories[i].from, 500}, .last = GATE_NO_ANSWER};
		char told[32] = "";
		for (size_t j = 0; stories[i].story[j]; j++) {
			enum gate_answer answer = (enum gate_answer)(
			    strchr(answers, stories[i].story[j]) - answers);
			told[j] =
			    changes[gate_observe(&record, answer, 1000 + (int64_t)j, 1)];
		}
		if (strcmp(told, stories[i].told) != 0 ||
		    record.seen.state != stories[i].to ||
		    record.seen.since_s != stories[i].since_s)
			fail_msg(
			    "%s: told %s, %s since %ld", stories[i].why, told,
			    gate_state_name(record.seen.state),
			    (long)record.seen.since_s);
	}
}

static void test_a_clock_that_was_put_back(void **state)
{
	struct gate_record record = {.seen = {GATE_PUBLISHED, 5000}};
	(void)state;
	assert_int_equal(gate_observe(&record, GATE_MATCHES, 1000, 1), GATE_SAME);
	assert_int_equal(record.seen.since_s, 1000);
}

/* Reloads ask too, and five of them in a second are worth one check. */
static void test_answers_that_come_too_soon(void **state)
{
	static const struct {
		int64_t at_s;
		enum gate_change change;
	} answers_of[] = {
	    {1000, GATE_MISSED}, {1000, GATE_SAME},     {1001, GATE_SAME},
	    {1149, GATE_SAME},   {1150, GATE_SAME},     {1151, GATE_SAME},
	    {1299, GATE_SAME},   {1300, GATE_VANISHED},
	};
	struct gate_record record = {.seen = {GATE_PUBLISHED, 500}};
	(void)state;
	for (size_t i = 0; i < sizeof(answers_of) / sizeof(answers_of[0]); i++)
		assert_int_equal(
		    gate_observe(&record, GATE_NO_NAME, answers_of[i].at_s, 150),
		    answers_of[i].change);
	/* A clock that was put back holds nothing up. */
	record = (struct gate_record){.seen = {GATE_PUBLISHED, 500}};
	gate_observe(&record, GATE_NO_NAME, 5000, 150);
	gate_observe(&record, GATE_NO_NAME, 1000, 150);
	assert_int_equal(gate_observe(&record, GATE_NO_NAME, 1150, 150), GATE_VANISHED);
}

#define PUB(since)                                                                       \
	{                                                                                \
		GATE_PUBLISHED, since                                                    \
	}
#define NOT                                                                              \
	{                                                                                \
		GATE_UNPUBLISHED, 1                                                      \
	}
#define NEW                                                                              \
	{                                                                                \
		GATE_UNKNOWN, 0                                                          \
	}
#define FREE                                                                             \
	{                                                                                \
		GATE_NOT_REQUIRED, 0                                                     \
	}

/* At 10,000, with a settle of 1,000. */
static const struct {
	const char *why;
	struct gate_seen keys[3];
	size_t count, chosen; /* @chosen == @count: none */
} choices[] = {
    {"no key", {NEW}, 0, 0},
    {"one, settled", {PUB(9000)}, 1, 0},
    {"one, new: at once where no key signs yet", {PUB(10000)}, 1, 0},
    {"one, not published", {NOT}, 1, 1},
    {"one, nobody knows", {NEW}, 1, 0},
    {"one, nobody asks", {FREE}, 1, 0},
    {"two settled: the first", {PUB(9000), PUB(10)}, 2, 0},
    {"the first is new: the old one goes on", {PUB(9001), PUB(10)}, 2, 1},
    {"the first has settled: it takes over", {PUB(9000), PUB(10)}, 2, 0},
    {"the first is not published", {NOT, PUB(10)}, 2, 1},
    {"the first is not published, the second new", {NOT, PUB(10000)}, 2, 1},
    {"the first vanished while the second was new", {NOT, PUB(9999), NOT}, 3, 1},
    {"both new, the second a little older: it signs already",
     {PUB(9900), PUB(9800)},
     2,
     1},
    {"both new at once: the first", {PUB(9900), PUB(9900)}, 2, 0},
    {"an unknown first does not displace a published one", {NEW, PUB(10)}, 2, 1},
    {"nor a new one", {NEW, PUB(9999)}, 2, 1},
    {"nothing known: the first", {NEW, NEW}, 2, 0},
    {"nothing good known: the first that may be", {NOT, NEW, NEW}, 3, 1},
    {"all gone", {NOT, NOT, NOT}, 3, 3},
    {"a new one before one that needs no DNS", {PUB(9999), FREE}, 2, 1},
    {"one that needs no DNS first", {FREE, PUB(10)}, 2, 0},
    {"an unknown one before one that needs no DNS", {NEW, FREE}, 2, 1},
    {"from the future: as if new", {PUB(20000), PUB(10)}, 2, 1},
};

static void test_choices(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(choices) / sizeof(choices[0]); i++) {
		size_t got = gate_choose(choices[i].keys, choices[i].count, 10000, 1000);
		if (got != choices[i].chosen)
			fail_msg("%s: %zu", choices[i].why, got);
	}
}

/* Whatever the states and the time: a key that is known not to be published signs only
 * never, and somebody signs as soon as one is published. */
static void test_every_choice(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 16 * 16 * 16; n++) {
		struct gate_seen keys[3];
		bool any = false;
		for (unsigned i = 0; i < 3; i++) {
			unsigned form = n >> 4 * i & 15;
			keys[i].state = (enum gate_state)(form & 3);
			keys[i].since_s = 10000 - (form >> 2) * 500;
			any = any || keys[i].state != GATE_UNPUBLISHED;
		}
		size_t got = gate_choose(keys, 3, 10000, 1000);
		assert_int_equal(got < 3, any);
		if (got < 3)
			assert_int_not_equal(keys[got].state, GATE_UNPUBLISHED);
		for (unsigned i = 0; i < 3; i++) {
			if (got < 3 && keys[i].state == GATE_PUBLISHED)
				assert_int_not_equal(keys[got].state, GATE_UNKNOWN);
		}
	}
}

static void test_settles_at(void **state)
{
	static const struct gate_seen new = PUB(9500), settled = PUB(9000), none = NOT;
	(void)state;
	assert_int_equal(gate_settles_at(&new, 10000, 1000), 10500);
	assert_true(gate_settles_at(&settled, 10000, 1000) == INT64_MAX);
	assert_true(gate_settles_at(&none, 10000, 1000) == INT64_MAX);
	assert_int_equal(gate_choose(&new, 1, 10500, 1000), 0);
}

static void test_words(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		struct gate_seen seen = {(enum gate_state)i, 1774000000 + i};
		struct gate_seen back = gate_seen_unpack(gate_seen_pack(seen));
		assert_int_equal(back.state, seen.state);
		assert_int_equal(back.since_s, seen.since_s);
	}
	enum gate_state got;
	assert_true(gate_state_parse("published", &got) && got == GATE_PUBLISHED);
	assert_true(gate_state_parse("unpublished", &got) && got == GATE_UNPUBLISHED);
	assert_false(gate_state_parse("unknown", &got));
	assert_false(gate_state_parse("not required", &got));
	assert_false(gate_state_parse("", &got));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_stories),
	    cmocka_unit_test(test_a_clock_that_was_put_back),
	    cmocka_unit_test(test_answers_that_come_too_soon),
	    cmocka_unit_test(test_choices),
	    cmocka_unit_test(test_every_choice),
	    cmocka_unit_test(test_settles_at),
	    cmocka_unit_test(test_words),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
