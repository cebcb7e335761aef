/* SPDX-License-Identifier: BSD-2-Clause */
/* The state file's text and its saving and loading, without the thread. */
#include "policyd/state_file.h"
#include "policyd/state_text.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>
#include <jansson.h>

#include "tests/unit/config_files.h"
#include "tests/unit/state_parts.h"

static const struct config no_limits = {.limits_count = 0};
static char *read_file(const char *path, size_t *ret_len)
{
	FILE *file = fopen(path, "r");
	static char bytes[1 << 20];

	assert_non_null(file);
	*ret_len = fread(bytes, 1, sizeof(bytes) - 1, file);
	bytes[*ret_len] = '\0';
	fclose(file);
	return bytes;
}

static int compare_lines(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int compare_bytes(const void *a, const void *b)
{
	return *(const unsigned char *)a - *(const unsigned char *)b;
}

/* Its lines in order, each with its bytes in order, and without the commas behind them:
 * where counters stand, and members within a set, depends on a random hash. */
static char *sorted(const char *path)
{
	size_t len, count = 0;
	char *copy = strdup(read_file(path, &len)), *lines[5000], *next = copy;
	char *result = calloc(1, len + 2);

	for (char *line; (line = strsep(&next, "\n"));) {
		assert_true(count < 5000);
		size_t end = strlen(line);
		if (end > 0 && line[end - 1] == ',')
			line[end - 1] = '\0';
		qsort(line, strlen(line), 1, compare_bytes);
		lines[count++] = line;
	}
	qsort(lines, count, sizeof(*lines), compare_lines);
	char *at = result;
	for (size_t i = 0; i < count; i++)
		at += sprintf(at, "%s\n", lines[i]);
	free(copy);
	return result;
}

static void what_was_saved_is_loaded(void **state)
{
	(void)state;
	struct state_parts parts = parts_new(10000), again;
	struct state_loaded loaded;
	struct stat st;

	parts_fill(&parts);
	parts_save(&parts, "state.json");
	assert_int_equal(stat("state.json", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(access("state.json.new", F_OK), -1);

	parts_load("state.json", &again, NOW_MS, &loaded);
	assert_int_equal(loaded.counters, 3);
	assert_int_equal(loaded.blocks, 2);
	assert_int_equal(loaded.logins, 1);
	assert_int_equal(loaded.dropped + loaded.skipped + loaded.no_room, 0);
	assert_false(loaded.is_cut_off);
	struct store *store = again.memory;
	assert_int_equal(
	    parts_ask(store, "user-hour:ada@example.org", "", 5, false, NOW_MS).kind,
	    OUTCOME_OVER);
	assert_int_equal(parts_used(store, "user-hour:bob@example.org", NOW_MS), 2);
	assert_int_equal(
	    parts_used(store, "user-hour:bob@example.org", NOW_MS + HOUR_MS), 1);
	assert_int_equal(
	    parts_ask(store, "roaming:ada@example.org", "DE", 2, true, NOW_MS).kind,
	    OUTCOME_FITS);
	assert_int_equal(
	    parts_ask(store, "roaming:ada@example.org", "ES", 2, true, NOW_MS).kind,
	    OUTCOME_OVER);
	assert_int_equal(
	    parts_ask(store, "roaming:ada@example.org", "DE", 5, true, NOW_MS + HOUR_MS)
		.results[0]
		.used,
	    1);
	parts_free(&parts);
	parts_free(&again);
}

static void is_json_as_a_whole(void **state)
{
	(void)state;
	struct state_parts parts = parts_new(10000);
	json_error_t error;

	parts_fill(&parts);
	parts_save(&parts, "state.json");
	json_t *root = json_load_file("state.json", JSON_REJECT_DUPLICATES, &error);
	if (!root)
		fail_msg("%d: %s", error.line, error.text);
	const json_t *records = json_object_get(root, "records");
	assert_int_equal(json_array_size(records), 6);
	assert_int_equal(json_integer_value(json_object_get(root, "count")), 6);
	bool found = false;
	size_t i;
	json_t *record;
	json_array_foreach(records, i, record)
	{
		const char *reason = json_string_value(json_object_get(record, "reason"));
		found =
		    found || (reason && strcmp(reason, "says \"hello\" \xc3\xa4") == 0);
	}
	assert_true(found);
	json_decref(root);
	parts_free(&parts);

	/* Nothing to save is a file too. */
	parts = parts_new(100);
	parts_save(&parts, "state.json");
	root = json_load_file("state.json", 0, &error);
	assert_non_null(root);
	json_decref(root);
	parts_free(&parts);
}

static void random_charges(struct store *store, unsigned seed)
{
	char key[64], member[32];

	for (int i = 0; i < 3000; i++) {
		int64_t at_ms = NOW_MS - HOUR_MS + i * (HOUR_MS / 3000);
		unsigned n = (unsigned)rand_r(&seed) % 300;
		snprintf(
		    key, sizeof(key), "%s:user%u@example.org",
		    n % 2 ? "roaming" : "user-hour", n);
		snprintf(member, sizeof(member), "m\"\\%u", (unsigned)rand_r(&seed) % 20);
		parts_ask(store, key, n % 2 ? member : "", 10, false, at_ms);
	}
}

static void saving_what_was_loaded_is_the_same(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 6; seed++) {
		struct state_parts parts = parts_new(10000), again;
		struct state_loaded loaded;
		random_charges(parts.memory, seed);
		parts_fill_blocks(&parts);
		parts_save(&parts, "one.json");
		parts_load("one.json", &again, NOW_MS, &loaded);
		assert_int_equal(loaded.skipped, 0);
		parts_save(&again, "two.json");
		char *one = sorted("one.json"), *two = sorted("two.json");
		if (strcmp(one, two) != 0)
			fail_msg("seed %u: the files differ", seed);
		free(one);
		free(two);
		parts_free(&parts);
		parts_free(&again);
	}
}

/* ---- damage ---- */

static void count_row(void *context, const struct store_row *row)
{
	size_t *count = context;

	assert_true(row->key_len > 0);
	++*count;
}

static void ignore_done(void *context, int r)
{
	(void)context;
	assert_int_equal(r, 0);
}

static size_t rows_in(const struct state_parts *parts)
{
	size_t count = 0;

	store_scan(parts->memory, count_row, ignore_done, &count);
	return count;
}

/* Loads what is damaged; nothing that it does not hold may appear. */
static int load_damaged(const char *bytes, size_t len, struct state_loaded *ret)
{
	struct state_parts parts = parts_new(100);
	int fd = memfd_create("damaged", 0);
	char path[64];

	/* Thousands of them: in memory. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	assert_int_equal(write(fd, bytes, len), len);
	int r = state_file_load(path, &parts, &state_config, clock_at(NOW_MS), ret);
	close(fd);
	assert_true(r == 0 || r == STATE_FOREIGN);
	assert_true(rows_in(&parts) <= 4);
	assert_int_equal(rows_in(&parts), ret->counters);
	if (r == STATE_FOREIGN)
		assert_int_equal(ret->counters + ret->blocks + ret->logins, 0);
	parts_free(&parts);
	return r;
}

static void truncated_at_every_byte(void **state)
{
	(void)state;
	struct state_parts parts = parts_new(100);
	struct state_loaded loaded;
	size_t len;

	parts_fill(&parts);
	parts_save(&parts, "state.json");
	char *whole = read_file("state.json", &len);
	char *copy = malloc(len);
	memcpy(copy, whole, len);
	size_t head = (size_t)(strchr(whole, '\n') - whole);
	uint64_t most = 0;
	for (size_t n = 0; n <= len; n++) {
		int r = load_damaged(copy, n, &loaded);
		if (r != (n < head ? STATE_FOREIGN : 0))
			fail_msg("%zu bytes: %d", n, r);
		uint64_t got = loaded.counters + loaded.blocks + loaded.logins;
		if (got < most || (n >= len - 1) == loaded.is_cut_off)
			if (r == 0)
				fail_msg("%zu bytes: %d records", n, (int)got);
		most = got;
	}
	assert_int_equal(most, 6);
	free(copy);
	parts_free(&parts);
}

static void flipped_bits(void **state)
{
	(void)state;
	struct state_parts parts = parts_new(100);
	struct state_loaded loaded;
	uint64_t skipped = 0, foreign = 0;
	size_t len;

	parts_fill(&parts);
	parts_save(&parts, "state.json");
	char *whole = read_file("state.json", &len);
	char *copy = malloc(len);
	memcpy(copy, whole, len);
	for (size_t i = 0; i < len * 8; i++) {
		copy[i / 8] ^= (char)(1 << i % 8);
		foreign += load_damaged(copy, len, &loaded) == STATE_FOREIGN;
		skipped += loaded.skipped > 0;
		assert_true(loaded.skipped <= 2);
		copy[i / 8] ^= (char)(1 << i % 8);
	}
	assert_true(skipped > len && foreign > 100);
	free(copy);
	parts_free(&parts);
}

#define HEAD                                                                             \
	"{\"postern\": \"state\", \"version\": 1, \"time\": 1767571200000, "             \
	"\"records\": [\n"
#define GOOD                                                                             \
	"{\"counter\": \"user-hour:ada\", \"window\": 3600, \"max\": 5, "                \
	"\"start\": 1767571200000, \"current\": 3, \"previous\": 0},\n"

#define ONES "1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 "

static void lines_that_are_no_records(void **state)
{
	(void)state;
	static const struct {
		const char *why, *line;
	} rows[] = {
	    {"nothing", ""},
	    {"no JSON", "hello"},
	    {"no object", "[1, 2],"},
	    {"two objects", "{\"login\": \"192.0.2.1\"} {\"at\": 1},"},
	    {"not closed", "{\"login\": \"192.0.2.1\", \"at\": 1, \"user\": \"\""},
	    {"a field is missing", "{\"login\": \"192.0.2.1\", \"at\": 1},"},
	    {"a field twice",
	     "{\"login\": \"192.0.2.1\", \"at\": 1, \"at\": 1, \"user\": \"\"},"},
	    {"a field too many",
	     "{\"login\": \"192.0.2.1\", \"at\": 1, \"user\": \"\", \"max\": 1},"},
	    {"a field that is not known",
	     "{\"login\": \"192.0.2.1\", \"at\": 1, \"who\": \"\"},"},
	    {"no address", "{\"login\": \"192.0.2\", \"at\": 1, \"user\": \"\"},"},
	    {"another type",
	     "{\"login\": \"192.0.2.1\", \"at\": \"1\", \"user\": \"\"},"},
	    {"a negative time",
	     "{\"login\": \"192.0.2.1\", \"at\": -1, \"user\": \"\"},"},
	    {"a fraction", "{\"login\": \"192.0.2.1\", \"at\": 1.5, \"user\": \"\"},"},
	    {"a time that no calendar has",
	     "{\"login\": \"192.0.2.1\", \"at\": 999999999999999, \"user\": \"\"},"},
	    {"a count that is not exact",
	     "{\"counter\": \"user-hour:x\", \"window\": 3600, \"max\": 5, \"start\": 0, "
	     "\"current\": 9999999999999999, \"previous\": 0},"},
	    {"a count of 20 digits",
	     "{\"counter\": \"user-hour:x\", \"window\": 3600, \"max\": 5, \"start\": 0, "
	     "\"current\": 18446744073709551617, \"previous\": 0},"},
	    {"a window of nothing",
	     "{\"counter\": \"user-hour:x\", \"window\": 0, \"max\": 5, \"start\": 0, "
	     "\"current\": 1, \"previous\": 0},"},
	    {"a key without limit",
	     "{\"counter\": \"user-hour\", \"window\": 3600, \"max\": 5, \"start\": 0, "
	     "\"current\": 1, \"previous\": 0},"},
	    {"a key with a space", "{\"counter\": \"user-hour:a b\", \"window\": 3600, "
				   "\"max\": 5, \"start\": 0, "
				   "\"current\": 1, \"previous\": 0},"},
	    {"an empty member",
	     "{\"set\": \"roaming:x\", \"window\": 3600, \"max\": 5, \"start\": 0, "
	     "\"seen\": [\"\"], \"before\": []},"},
	    {"a list that does not end",
	     "{\"set\": \"roaming:x\", \"window\": 3600, \"max\": 5, \"start\": 0, "
	     "\"seen\": [\"a\", \"before\": []},"},
	    {"a kind of block that is none",
	     "{\"block\": \"country\", \"subject\": \"DE\", \"since\": 1, \"until\": 0, "
	     "\"automatic\": false, \"by\": \"\", \"reason\": \"\"},"},
	    {"a subject that is not canonical",
	     "{\"block\": \"client\", \"subject\": \"192.0.2.001\", \"since\": 1, "
	     "\"until\": "
	     "0, \"automatic\": false, \"by\": \"\", \"reason\": \"\"},"},
	    {"a lifted block that ends before it was made",
	     "{\"lifted\": \"client\", \"subject\": \"192.0.2.1\", \"made\": 2, "
	     "\"ends\": 1},"},
	    {"a lifted block without an end",
	     "{\"lifted\": \"client\", \"subject\": \"192.0.2.1\", \"made\": 2},"},
	    {"a lifted block of nobody",
	     "{\"lifted\": \"client\", \"subject\": \"x\", \"made\": 4102444800000, "
	     "\"ends\": 4102444900000},"},
	    {"a stamp that no calendar has",
	     "{\"lifted\": \"client\", \"subject\": \"192.0.2.1\", \"made\": "
	     "4102444800000, \"ends\": 4102444900000, \"stamp\": 999999999999999},"},
	    {"a counter with a stamp",
	     "{\"login\": \"192.0.2.1\", \"at\": 1, \"user\": \"\", \"stamp\": 1},"},
	    {"a token that is too short",
	     "{\"token\": \"00112233445566778899aabbccddeef\", \"at\": 1, \"over\": "
	     "false, \"used\": \"1\"},"},
	    {"a token of other letters",
	     "{\"token\": \"00112233445566778899AABBCCDDEEFF\", \"at\": 1, \"over\": "
	     "false, \"used\": \"1\"},"},
	    {"an outcome of nothing",
	     "{\"token\": \"00112233445566778899aabbccddeeff\", \"at\": 1, \"over\": "
	     "false, \"used\": \"\"},"},
	    {"an outcome with more behind it",
	     "{\"token\": \"00112233445566778899aabbccddeeff\", \"at\": 1, \"over\": "
	     "false, \"used\": \"1 x\"},"},
	    {"a wait of 200 years",
	     "{\"token\": \"00112233445566778899aabbccddeeff\", \"at\": 1, \"over\": "
	     "true, \"used\": \"1!6400000000\"},"},
	    {"65 limits", "{\"token\": \"00112233445566778899aabbccddeeff\", \"at\": 1, "
			  "\"over\": true, \"used\": \"" ONES ONES "1\"},"},
	    {"a key that is none", "{\"tokens\": \"\"},"},
	    {"an escape that is none",
	     "{\"login\": \"192.0.2.1\", \"at\": 1, \"user\": \"\\q\"},"},
	};
	static char bytes[4096];
	struct state_loaded loaded;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct state_parts parts;
		int len = snprintf(
		    bytes, sizeof(bytes), HEAD "%s\n" GOOD "], \"count\": 2}\n",
		    rows[i].line);
		write_bytes("state.json", bytes, (size_t)len);
		parts_load("state.json", &parts, NOW_MS, &loaded);
		if (loaded.skipped != 1 || loaded.first_skipped != 2 ||
		    loaded.counters != 1 ||
		    loaded.blocks + loaded.lifted + loaded.logins + loaded.tokens != 0 ||
		    loaded.is_cut_off ||
		    parts_used(parts.memory, "user-hour:ada", NOW_MS) != 3)
			fail_msg("%s: %d skipped", rows[i].why, (int)loaded.skipped);
		parts_free(&parts);
	}
}

static void files_of_others(void **state)
{
	(void)state;
	static const struct {
		const char *why, *bytes;
	} rows[] = {
	    {"empty", ""},
	    {"an empty line", "\n"},
	    {"other JSON", "{}\n"},
	    {"text", "hello\nworld\n"},
	    {"another version",
	     "{\"postern\": \"state\", \"version\": 2, \"time\": 1, \"records\": [\n" GOOD
	     "], \"count\": 1}\n"},
	    {"no time",
	     "{\"postern\": \"state\", \"version\": 1, \"time\": \"\", \"records\": [\n"},
	};
	struct state_loaded loaded;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (load_damaged(rows[i].bytes, strlen(rows[i].bytes), &loaded) !=
		    STATE_FOREIGN)
			fail_msg("%s", rows[i].why);
}

static void what_is_no_file(void **state)
{
	(void)state;
	struct state_parts parts = parts_new(100);
	struct state_loaded loaded;

	assert_int_equal(
	    state_file_load("none", &parts, &state_config, clock_at(NOW_MS), &loaded),
	    -ENOENT);
	assert_int_equal(
	    state_file_load(
		"/dev/null", &parts, &state_config, clock_at(NOW_MS), &loaded),
	    -EINVAL);
	assert_int_equal(
	    state_file_load(".", &parts, &state_config, clock_at(NOW_MS), &loaded),
	    -EINVAL);
	assert_int_equal(mkfifo("fifo", 0600), 0);
	assert_int_equal(
	    state_file_load("fifo", &parts, &state_config, clock_at(NOW_MS), &loaded),
	    -EINVAL);
	parts_free(&parts);
}

static void an_endless_line(void **state)
{
	(void)state;
	size_t len = 3 * 1024 * 1024 + 17, head = strlen(HEAD);
	char *bytes = malloc(len);
	struct state_loaded loaded;

	memset(bytes, 'x', len);
	memcpy(bytes, HEAD, head);
	assert_int_equal(load_damaged(bytes, len, &loaded), 0);
	assert_true(loaded.skipped >= 1 && loaded.is_cut_off);
	memset(bytes, 'x', head);
	assert_int_equal(load_damaged(bytes, len, &loaded), STATE_FOREIGN);
	free(bytes);
}

/* ---- the disk ---- */

static void no_room_on_the_disk(void **state)
{
	(void)state;
	struct rlimit before, small = {.rlim_cur = 300, .rlim_max = RLIM_INFINITY};
	struct state_parts parts = parts_new(100);
	struct state_saved saved;
	size_t len;

	parts_fill(&parts);
	write_bytes("state.json", "old", 3);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small.rlim_max = before.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	int r = state_file_save(
	    "state.json", &parts, &state_config, clock_at(NOW_MS), &saved);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(r, -EFBIG);
	assert_string_equal(saved.step, "write");
	assert_string_equal(read_file("state.json", &len), "old");
	assert_int_equal(access("state.json.new", F_OK), -1);
	parts_save(&parts, "state.json");
	parts_free(&parts);
}

static void folders(void **state)
{
	(void)state;
	struct state_parts parts = parts_new(100);
	struct state_saved saved;

	assert_int_equal(
	    state_file_save(
		"none/state.json", &parts, &state_config, clock_at(NOW_MS), &saved),
	    -ENOENT);
	assert_string_equal(saved.step, "create");
	assert_int_equal(state_file_probe("none/state.json", &saved), -ENOENT);
	assert_int_equal(mkdir("some", 0700), 0);
	assert_int_equal(state_file_probe("some/state.json", &saved), 0);
	assert_int_equal(access("some/state.json.new", F_OK), -1);
	/* What a killed process left behind is no hindrance. */
	write_bytes("some/state.json.new", "half", 4);
	parts_save(&parts, "some/state.json");
	assert_int_equal(access("some/state.json.new", F_OK), -1);
	assert_int_equal(mkdir("folder.json", 0700), 0);
	assert_true(
	    state_file_save(
		"folder.json", &parts, &state_config, clock_at(NOW_MS), &saved) < 0);
	assert_string_equal(saved.step, "rename");
	parts_free(&parts);
}

/* ---- what is kept ---- */

static void counters_without_a_limit(void **state)
{
	(void)state;
	struct state_parts parts = parts_new(100), again = parts_new(100);
	struct state_loaded loaded;
	struct state_saved saved;

	parts_fill(&parts);
	parts_save(&parts, "state.json");
	assert_int_equal(
	    state_file_load("state.json", &again, &no_limits, clock_at(NOW_MS), &loaded),
	    0);
	assert_int_equal(loaded.counters, 0);
	assert_int_equal(loaded.dropped, 3);
	assert_int_equal(loaded.blocks, 2);
	assert_int_equal(loaded.skipped, 0);
	assert_int_equal(rows_in(&again), 0);
	/* With Redis: what this node counts while it is away. */
	struct config with_redis = state_config;
	with_redis.has_redis = true;
	assert_int_equal(
	    state_file_save("state.json", &parts, &with_redis, clock_at(NOW_MS), &saved),
	    0);
	assert_int_equal(saved.counters, 3);
	assert_int_equal(
	    state_file_load("state.json", &again, &with_redis, clock_at(NOW_MS), &loaded),
	    0);
	assert_int_equal(loaded.counters, 3);
	assert_int_equal(saved.blocks, 2);
	assert_int_equal(saved.logins, 1);
	parts_free(&parts);
	parts_free(&again);
}

static void more_than_fits(void **state)
{
	(void)state;
	struct state_parts parts = parts_new(10000), again = parts_new(50);
	struct state_loaded loaded;
	char key[64];

	for (int i = 0; i < 500; i++) {
		snprintf(key, sizeof(key), "user-hour:u%d", i);
		parts_ask(parts.memory, key, "", i < 30 ? 1 : 5, false, NOW_MS);
	}
	parts_save(&parts, "state.json");
	assert_int_equal(
	    state_file_load(
		"state.json", &again, &state_config, clock_at(NOW_MS), &loaded),
	    0);
	assert_int_equal(loaded.counters + loaded.no_room, 500);
	assert_int_equal(rows_in(&again), 50);
	/* None that is up to its max went. */
	for (int i = 0; i < 30; i++) {
		snprintf(key, sizeof(key), "user-hour:u%d", i);
		assert_int_equal(parts_used(again.memory, key, NOW_MS), 1);
	}
	parts_free(&parts);
	parts_free(&again);
}

static long peak_kib(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_maxrss;
}

/* Neither way needs memory that grows with the file. */
static void memory(void **state)
{
	(void)state;
	enum { COUNTERS = 300000 };
	struct state_parts parts = parts_new(2 * COUNTERS), again = parts_new(100);
	struct state_loaded loaded;
	struct stat st;
	char key[64];

	for (int i = 0; i < COUNTERS; i++) {
		snprintf(key, sizeof(key), "user-hour:user%d@long.example.org", i);
		parts_ask(parts.memory, key, "", 5, false, NOW_MS);
	}
	long before = peak_kib();
	parts_save(&parts, "state.json");
	assert_int_equal(stat("state.json", &st), 0);
	assert_true(st.st_size > 30 * 1000 * 1000);
	assert_int_equal(
	    state_file_load("state.json", &again, &no_limits, clock_at(NOW_MS), &loaded),
	    0);
	assert_int_equal(loaded.dropped, COUNTERS);
	long grown = peak_kib() - before;
	/* Under 4 MiB, and what a sanitizer keeps beside it; the file has 30. */
	if (grown > 8192)
		fail_msg("%ld KiB more", grown);
	parts_free(&parts);
	parts_free(&again);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_was_saved_is_loaded),
	    cmocka_unit_test(is_json_as_a_whole),
	    cmocka_unit_test(saving_what_was_loaded_is_the_same),
	    cmocka_unit_test(truncated_at_every_byte),
	    cmocka_unit_test(flipped_bits),
	    cmocka_unit_test(lines_that_are_no_records),
	    cmocka_unit_test(files_of_others),
	    cmocka_unit_test(what_is_no_file),
	    cmocka_unit_test(an_endless_line),
	    cmocka_unit_test(no_room_on_the_disk),
	    cmocka_unit_test(folders),
	    cmocka_unit_test(counters_without_a_limit),
	    cmocka_unit_test(more_than_fits),
	    cmocka_unit_test(memory),
	};

	signal(SIGXFSZ, SIG_IGN);
	return cmocka_run_group_tests(tests, config_files_setup, config_files_teardown);
}
