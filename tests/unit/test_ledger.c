/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/ledger.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct moment now;

static void test_clock(struct moment *ret)
{
	*ret = now;
}

static struct ledger *fresh(size_t max)
{
	struct ledger *ledger;

	now = (struct moment){.wall_ms = 1000000000, .steady_ms = 5000};
	assert_int_equal(ledger_new(max, &ledger), 0);
	ledger_set_clock(ledger, test_clock);
	return ledger;
}

static void pass(int64_t ms)
{
	now.wall_ms += ms;
	now.steady_ms += ms;
}

/* @for_ms 0: no end. */
static int put(struct ledger *ledger, const char *key, int64_t for_ms)
{
	struct record record = {
	    .key = key,
	    .key_len = strlen(key),
	    .text = "text",
	    .text_len = 4,
	    .made_ms = now.wall_ms,
	    .until_ms = for_ms ? now.wall_ms + for_ms : 0,
	};

	return ledger_put(ledger, &record, LEDGER_REPLACE, LEDGER_REFUSE);
}

static bool has(struct ledger *ledger, const char *key)
{
	struct record record;

	ledger_read(ledger);
	bool found = ledger_find(ledger, key, strlen(key), now.wall_ms, &record);
	ledger_leave(ledger);
	return found;
}

/* "key+ key- ..." of what waits to be shared, in order; - is a tombstone. */
static void add_unshared(void *context, const struct unshared *unshared)
{
	char *text = context;

	sprintf(
	    text + strlen(text), "%s%.*s%c", text[0] ? " " : "",
	    (int)unshared->record.key_len, unshared->record.key,
	    unshared->record.removed ? '-' : '+');
}

static void expect_unshared(struct ledger *ledger, const char *want, const char *why)
{
	char text[4096] = "";

	ledger_each_unshared(ledger, 100, add_unshared, text);
	if (strcmp(text, want) != 0)
		fail_msg("%s: want \"%s\", got \"%s\"", why, want, text);
}

static void share_one(void *context, const struct unshared *unshared)
{
	struct unshared *ret = context;

	*ret = *unshared;
}

/* As the roster does it: the first that waits is told, as of @stamp_ms. */
static void share(struct ledger *ledger, int64_t stamp_ms)
{
	struct unshared unshared;

	assert_int_equal(ledger_each_unshared(ledger, 1, share_one, &unshared), 1);
	ledger_shared(
	    ledger, unshared.record.key, unshared.record.key_len, unshared.change,
	    stamp_ms);
}

static int merge(
    struct ledger *ledger, const char *key, bool removed, int64_t age_ms, int64_t left_ms,
    int64_t stamp_ms, uint32_t round)
{
	struct record record = {
	    .key = key,
	    .key_len = strlen(key),
	    .text = removed ? "" : "theirs",
	    .text_len = removed ? 0 : 6,
	    .removed = removed,
	};

	return ledger_merge(
	    ledger, &record, age_ms, left_ms, stamp_ms, round, LEDGER_REFUSE);
}

static void ends_by_either_clock(void **state)
{
	struct ledger *ledger = fresh(10);
	(void)state;

	put(ledger, "a", 60000);
	put(ledger, "for ever", 0);
	pass(59999);
	assert_true(has(ledger, "a"));
	pass(1);
	assert_false(has(ledger, "a"));
	assert_true(has(ledger, "for ever"));

	put(ledger, "a", 60000);
	now.wall_ms -= 86400000; /* set back by a day */
	assert_true(has(ledger, "a"));
	pass(60000);
	assert_false(has(ledger, "a"));

	put(ledger, "a", 60000);
	now.wall_ms += 60000; /* set forward */
	assert_false(has(ledger, "a"));
	assert_true(has(ledger, "for ever"));
	ledger_free(ledger);
}

/* What comes from a state file was made before; by a clock that may have been wrong. */
static void restored_holds_what_is_left(void **state)
{
	static const struct {
		int64_t made_ms, until_ms, holds_ms;
		const char *why;
	} rows[] = {
	    {-40000, 20000, 20000, "what is left"},
	    {-40000, 0, 0, "it has ended"},
	    {-86400000, -1, 0, "it has ended long ago"},
	    {86400000, 86400000 + 60000, 60000, "the clock was set back by a day"},
	};
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ledger *ledger = fresh(10);
		struct record record = {
		    .key = "a",
		    .key_len = 1,
		    .text = "",
		    .made_ms = now.wall_ms + rows[i].made_ms,
		    .until_ms = now.wall_ms + rows[i].until_ms,
		};
		int64_t from = now.wall_ms;
		assert_int_equal(
		    ledger_put(ledger, &record, LEDGER_REPLACE, LEDGER_REFUSE), 0);
		int64_t held = 0;
		for (; has(ledger, "a") && held < 200000; held += 1000)
			pass(1000);
		if (held != rows[i].holds_ms)
			fail_msg("%s: held %d s", rows[i].why, (int)(held / 1000));
		assert_int_equal(now.wall_ms, from + held);
		ledger_free(ledger);
	}
}

static void rules_of_putting(void **state)
{
	struct ledger *ledger = fresh(10);
	struct record record = {.key = "a", .key_len = 1, .text = "new", .text_len = 3};
	struct record found;
	(void)state;

	put(ledger, "a", 60000);
	pass(1000);
	record.made_ms = now.wall_ms;
	assert_int_equal(
	    ledger_put(ledger, &record, LEDGER_KEEP, LEDGER_REFUSE), LEDGER_KEPT);
	record.made_ms = now.wall_ms - 2000;
	assert_int_equal(
	    ledger_put(ledger, &record, LEDGER_LATER, LEDGER_REFUSE), LEDGER_KEPT);
	record.made_ms = now.wall_ms;
	assert_int_equal(ledger_put(ledger, &record, LEDGER_LATER, LEDGER_REFUSE), 0);
	ledger_read(ledger);
	assert_true(ledger_find(ledger, "a", 1, now.wall_ms, &found));
	assert_memory_equal(found.text, "new", 3);
	ledger_leave(ledger);
	assert_int_equal(ledger_count(ledger), 1);
	/* What has ended is not kept. */
	put(ledger, "a", 1000);
	pass(1000);
	assert_int_equal(ledger_put(ledger, &record, LEDGER_KEEP, LEDGER_REFUSE), 0);
	static const char long_key[LEDGER_KEY_MAX + 1];
	record.key = long_key;
	record.key_len = sizeof(long_key);
	assert_int_equal(
	    ledger_put(ledger, &record, LEDGER_KEEP, LEDGER_REFUSE), -EMSGSIZE);
	ledger_free(ledger);
}

static void full_tables(void **state)
{
	struct ledger *ledger = fresh(3);
	struct record record = {.key = "d", .key_len = 1, .text = ""};
	(void)state;

	put(ledger, "a", 0);
	put(ledger, "b", 60000);
	put(ledger, "c", 0);
	assert_int_equal(put(ledger, "d", 0), -ENOSPC);
	assert_int_equal(put(ledger, "c", 0), 0); /* a replacement needs no room */
	pass(60000);
	assert_int_equal(put(ledger, "d", 0), 0); /* in place of what has ended */
	assert_false(has(ledger, "b"));
	assert_int_equal(put(ledger, "e", 0), -ENOSPC);
	assert_true(ledger_remove(ledger, "a", 1, 60000));
	assert_int_equal(put(ledger, "e", 0), 0); /* in place of a tombstone */
	record.key = "f";
	record.made_ms = now.wall_ms;
	assert_int_equal(
	    ledger_put(ledger, &record, LEDGER_REPLACE, LEDGER_DROP_OLDEST), 0);
	assert_false(has(ledger, "c"));
	assert_true(has(ledger, "d") && has(ledger, "e") && has(ledger, "f"));
	assert_int_equal(ledger_count(ledger), 3);
	ledger_free(ledger);
}

static void count_key(void *context, const char *key, size_t len, int by)
{
	int *sums = context;

	assert_int_equal(len, 1);
	sums[(unsigned char)key[0]] += by;
}

/* Whatever happens to records, who counts them has counted right. */
static void counts_are_exact(void **state)
{
	struct ledger *ledger = fresh(4);
	int sums[256] = {0};
	(void)state;

	ledger_on_count(ledger, count_key, sums);
	srand(1);
	for (int i = 0; i < 20000; i++) {
		char key[2] = {(char)('a' + rand() % 6), 0};
		switch (rand() % 6) {
		case 0:
			ledger_remove(ledger, key, 1, 5000);
			break;
		case 1:
			merge(ledger, key, rand() % 2, rand() % 9000, 3000, i, 1);
			break;
		case 2:
			ledger_prune(ledger);
			break;
		case 3:
			pass(rand() % 2000);
			break;
		default:
			put(ledger, key, rand() % 3 ? rand() % 9000 : 0);
			break;
		}
		int sum = 0;
		for (char k = 'a'; k < 'g'; k++) {
			char name[2] = {k, 0};
			assert_in_range(sums[(int)k], 0, 1);
			if (has(ledger, name))
				assert_int_equal(sums[(int)k], 1);
			sum += sums[(int)k];
		}
		assert_int_equal(sum, ledger_count(ledger));
		assert_true(sum <= 4);
	}
	pass(100000);
	ledger_prune(ledger);
	for (char k = 'a'; k < 'g'; k++) {
		char name[2] = {k, 0};
		assert_int_equal(sums[(int)k], has(ledger, name));
	}
	ledger_free(ledger);
}

static void prunes_in_parts(void **state)
{
	struct ledger *ledger = fresh(50000);
	char key[16];
	(void)state;

	for (int i = 0; i < 40000; i++) {
		sprintf(key, "%d", i);
		assert_int_equal(put(ledger, key, i % 2 ? 1000 : 0), 0);
	}
	assert_int_equal(ledger_count(ledger), 40000);
	pass(1000);
	ledger_prune(ledger);
	assert_int_equal(ledger_count(ledger), 20000);
	for (int i = 0; i < 40000; i++) {
		sprintf(key, "%d", i);
		if (has(ledger, key) != (i % 2 == 0))
			fail_msg("%d", i);
	}
	ledger_free(ledger);
}

static void changes_wait_until_shared(void **state)
{
	struct ledger *ledger = fresh(10);
	(void)state;

	put(ledger, "a", 0);
	put(ledger, "b", 60000);
	expect_unshared(ledger, "a+ b+", "both are new");
	share(ledger, 100);
	expect_unshared(ledger, "b+", "the first was told");
	put(ledger, "a", 0);
	expect_unshared(ledger, "b+ a+", "changed again");

	struct unshared told;
	ledger_each_unshared(ledger, 1, share_one, &told);
	put(ledger, "b", 0);
	ledger_shared(ledger, "b", 1, told.change, 100);
	expect_unshared(ledger, "a+ b+", "changed while it was being told");

	assert_true(ledger_remove(ledger, "a", 1, 60000));
	assert_false(ledger_remove(ledger, "a", 1, 60000));
	assert_false(has(ledger, "a"));
	expect_unshared(ledger, "b+ a-", "removals are told");
	share(ledger, 101);
	share(ledger, 102);
	expect_unshared(ledger, "", "all told");
	ledger_free(ledger);
}

/* Those who make records know seconds; what comes next must not seem older. */
static void within_one_second(void **state)
{
	struct ledger *ledger = fresh(10);
	struct unshared told;
	(void)state;

	now.wall_ms = 1000000900;
	put(ledger, "a", 0);
	ledger_remove(ledger, "a", 1, 60000);
	pass(50);
	struct record record = {
	    .key = "a", .key_len = 1, .text = "", .made_ms = 1000000000};
	ledger_put(ledger, &record, LEDGER_REPLACE, LEDGER_REFUSE);
	ledger_each_unshared(ledger, 1, share_one, &told);
	assert_int_equal(told.record.age_ms, 0);
	record.restored = true;
	ledger_put(ledger, &record, LEDGER_REPLACE, LEDGER_REFUSE);
	ledger_each_unshared(ledger, 1, share_one, &told);
	assert_int_equal(told.record.age_ms, 950);
	ledger_free(ledger);
}

/* A change of what the others have is younger than that, however coarse the clocks. */
static void a_change_is_younger_than_what_it_changes(void **state)
{
	struct ledger *ledger = fresh(10);
	struct unshared told;
	(void)state;

	merge(ledger, "a", false, 0, -1, 5000, 1);
	assert_true(ledger_remove(ledger, "a", 1, 60000));
	ledger_each_unshared(ledger, 1, share_one, &told);
	assert_int_equal(told.base_ms, 5000);
	pass(7); /* it was on its way for so long, and seems younger */
	merge(ledger, "a", false, 0, -1, 5000, 2);
	assert_false(has(ledger, "a"));
	expect_unshared(ledger, "a-", "the removal stays");

	/* Changed while its last change was on its way. */
	put(ledger, "b", 0);
	ledger_shared(ledger, "a", 1, told.change, 5001);
	ledger_each_unshared(ledger, 1, share_one, &told);
	assert_true(ledger_remove(ledger, "b", 1, 60000));
	ledger_shared(ledger, "b", 1, told.change, 6000);
	pass(7);
	merge(ledger, "b", false, 0, -1, 6000, 2);
	assert_false(has(ledger, "b"));
	expect_unshared(ledger, "b-", "the second one stays");
	ledger_free(ledger);
}

static void what_others_say(void **state)
{
	(void)state;
	struct ledger *ledger = fresh(10);

	assert_int_equal(merge(ledger, "a", false, 5000, 60000, 900, 1), 0);
	assert_true(has(ledger, "a"));
	expect_unshared(ledger, "", "theirs is not told back");
	pass(59999);
	assert_true(has(ledger, "a"));
	pass(1);
	assert_false(has(ledger, "a"));

	merge(ledger, "b", false, 0, -1, 1000, 1);
	merge(ledger, "b", true, 0, 60000, 1001, 1);
	assert_false(has(ledger, "b"));
	merge(ledger, "b", false, 0, -1, 1000, 1);
	assert_false(has(ledger, "b"));
	expect_unshared(ledger, "b-", "who brings back what was removed has to learn it");
	ledger_free(ledger);

	/* An unblock here while they were away, and the block that they still have. */
	ledger = fresh(10);
	merge(ledger, "c", false, 0, -1, 1000, 1);
	pass(10000);
	assert_true(ledger_remove(ledger, "c", 1, 3600000));
	pass(10000);
	merge(ledger, "c", false, 20000, -1, 1000, 2);
	assert_false(has(ledger, "c"));
	expect_unshared(ledger, "c-", "the younger removal wins and is told");
	/* A younger block of theirs wins over the removal. */
	merge(ledger, "c", false, 5000, -1, 16000, 2);
	assert_true(has(ledger, "c"));
	expect_unshared(ledger, "", "theirs is younger: nothing to tell");
	ledger_free(ledger);

	/* A wall clock set by an hour meanwhile decides nothing. */
	ledger = fresh(10);
	put(ledger, "d", 0);
	now.wall_ms += 3600000;
	pass(1000);
	merge(ledger, "d", true, 500, 60000, 700, 1);
	assert_false(has(ledger, "d"));
	ledger_free(ledger);
}

/* FLUSHALL, and a master that lost the last writes. */
static void what_was_lost_is_told_again(void **state)
{
	struct ledger *ledger = fresh(10);
	(void)state;

	merge(ledger, "a", false, 0, -1, 1, 1);
	merge(ledger, "b", false, 0, -1, 2, 1);
	merge(ledger, "c", true, 0, 60000, 3, 1);
	ledger_round(ledger, 1);
	expect_unshared(ledger, "", "all were seen");
	merge(ledger, "b", false, 0, -1, 2, 2);
	ledger_round(ledger, 2);
	char text[64] = "";
	ledger_each_unshared(ledger, 100, add_unshared, text);
	if (strcmp(text, "a+ c-") != 0 && strcmp(text, "c- a+") != 0)
		fail_msg("those they did not name, in any order: %s", text);
	ledger_free(ledger);
}

struct race {
	struct ledger *ledger;
	atomic_bool stop;
	atomic_uint found;
};

static void *reader(void *context)
{
	struct race *race = context;
	struct record record;

	while (!atomic_load(&race->stop)) {
		ledger_read(race->ledger);
		if (ledger_find(race->ledger, "7", 1, 1, &record)) {
			assert_memory_equal(record.text, "text", 4);
			atomic_fetch_add(&race->found, 1);
		}
		ledger_leave(race->ledger);
	}
	return NULL;
}

static void *writer(void *context)
{
	struct race *race = context;
	char key[16];

	for (int i = 0; i < 20000; i++) {
		struct record record = {
		    .key = key,
		    .key_len = (size_t)sprintf(key, "%d", i % 300),
		    .text = "text",
		    .text_len = 4,
		};
		ledger_put(race->ledger, &record, LEDGER_REPLACE, LEDGER_DROP_OLDEST);
		if (i % 7 == 0)
			ledger_remove(race->ledger, key, record.key_len, 10);
		if (i % 1000 == 0)
			ledger_prune(race->ledger);
	}
	return NULL;
}

/* For ThreadSanitizer, and for the last word: everything is as one writer left it. */
static void threads(void **state)
{
	struct race race = {0};
	pthread_t readers[2], writers[2];
	(void)state;

	assert_int_equal(ledger_new(200, &race.ledger), 0);
	for (int i = 0; i < 2; i++) {
		pthread_create(&readers[i], NULL, reader, &race);
		pthread_create(&writers[i], NULL, writer, &race);
	}
	for (int i = 0; i < 2; i++)
		pthread_join(writers[i], NULL);
	atomic_store(&race.stop, true);
	for (int i = 0; i < 2; i++)
		pthread_join(readers[i], NULL);
	assert_true(ledger_count(race.ledger) <= 200);
	ledger_free(race.ledger);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(ends_by_either_clock),
	    cmocka_unit_test(restored_holds_what_is_left),
	    cmocka_unit_test(rules_of_putting),
	    cmocka_unit_test(full_tables),
	    cmocka_unit_test(counts_are_exact),
	    cmocka_unit_test(prunes_in_parts),
	    cmocka_unit_test(changes_wait_until_shared),
	    cmocka_unit_test(within_one_second),
	    cmocka_unit_test(a_change_is_younger_than_what_it_changes),
	    cmocka_unit_test(what_others_say),
	    cmocka_unit_test(what_was_lost_is_told_again),
	    cmocka_unit_test(threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
