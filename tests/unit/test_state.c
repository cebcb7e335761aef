/* SPDX-License-Identifier: BSD-2-Clause */
/* The state file's text and its saving and loading, without the thread. */
#include "policyd/ledger.h"
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

#define HOUR_MS (INT64_C(3600) * 1000)
/* 30 minutes into an hour. */
#define NOW_MS (INT64_C(1767571200000) + HOUR_MS / 2)
#define NOW_S  (NOW_MS / 1000)

static char user_hour[] = "user-hour", roaming[] = "roaming";
static struct limit limits[] = {{.name = user_hour}, {.name = roaming}};
static const struct config config = {.limits = limits, .limits_count = 2};
static const struct config no_limits = {.limits_count = 0};
static const struct config with_redis = {
    .limits = limits, .limits_count = 2, .has_redis = true};

/* By a clock that nobody sets, on a machine that has been up for ten days. */
static const struct state_clock *clock_at(int64_t wall_ms)
{
	static struct state_clock clock;

	clock = (struct state_clock){
	    .wall_ms = wall_ms,
	    .steady_ms = wall_ms - NOW_MS + 240 * HOUR_MS,
	    .boot = "first",
	};
	return &clock;
}

static struct state_parts parts_new(size_t max)
{
	struct state_parts parts;

	assert_int_equal(store_memory_new(max, &parts.memory), 0);
	assert_int_equal(blocks_new(1000, &parts.blocks), 0);
	assert_int_equal(logins_new(1000, &parts.logins), 0);
	return parts;
}

static void parts_free(struct state_parts *parts)
{
	store_free(parts->memory);
	blocks_free(parts->blocks);
	logins_free(parts->logins);
}

static void keep(void *context, const struct outcome *outcome)
{
	struct outcome *kept = context;

	*kept = *outcome;
}

static struct outcome ask(
    struct store *store, const char *key, const char *member, uint64_t max, bool look,
    int64_t now_ms)
{
	struct outcome outcome = {.kind = OUTCOME_UNAVAILABLE};
	struct charge charge = {
	    .window_s = 3600, .amount = 1, .max = max, .hard = true, .look = look};
	const struct store_request request = {
	    .token = "", .charges = &charge, .count = 1, .now_ms = now_ms};

	charge.key_len = (uint16_t)strlen(key);
	memcpy(charge.key, key, charge.key_len);
	charge.member_len = (uint16_t)strlen(member);
	memcpy(charge.member, member, charge.member_len);
	store_ask(store, &request, keep, &outcome);
	return outcome;
}

static uint64_t used(struct store *store, const char *key, int64_t now_ms)
{
	return ask(store, key, "", 1000000, true, now_ms).results[0].used;
}

static void fill_blocks(struct state_parts *parts)
{
	static const struct block blocks[] = {
	    {.kind = BLOCK_CLIENT,
	     .subject = "192.0.2.66",
	     .since_s = NOW_S,
	     .reason = "says \"hello\" \xc3\xa4",
	     .by = "root@gw1"},
	    {.kind = BLOCK_USER,
	     .subject = "ada@example.org",
	     .since_s = NOW_S,
	     .until_s = INT64_C(4102444800),
	     .by = "limit ban on gw1",
	     .automatic = true},
	};
	struct login login = {.at_s = time(NULL) - 60, .user = "ada@example.org"};

	for (size_t i = 0; i < 2; i++)
		assert_int_equal(blocks_put(parts->blocks, &blocks[i]), 0);
	assert_true(ip_parse("2001:db8::1", 11, &login.ip));
	assert_int_equal(logins_put(parts->logins, &login), 0);
}

/* 3 counters that are kept, 2 blocks, 1 login. */
static void fill(struct state_parts *parts)
{
	/* In order: a clock set back would pull back what it finds. */
	ask(parts->memory, "user-hour:old", "", 5, false, NOW_MS - 2 * HOUR_MS);
	ask(parts->memory, "user-hour:bob@example.org", "", 5, false, NOW_MS - HOUR_MS);
	ask(parts->memory, "roaming:ada@example.org", "DE", 5, false, NOW_MS - HOUR_MS);
	for (int i = 0; i < 5; i++)
		ask(parts->memory, "user-hour:ada@example.org", "", 5, false, NOW_MS);
	ask(parts->memory, "user-hour:bob@example.org", "", 5, false, NOW_MS);
	ask(parts->memory, "roaming:ada@example.org", "FR", 5, false, NOW_MS);
	ask(parts->memory, "gone:ada@example.org", "", 5, false, NOW_MS);
	fill_blocks(parts);
}

static void save(const struct state_parts *parts, const char *path)
{
	struct state_saved saved;

	assert_int_equal(
	    state_file_save(path, parts, &config, clock_at(NOW_MS), &saved), 0);
	assert_null(saved.step);
}

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

static void load(
    const char *path, struct state_parts *parts, int64_t now_ms, struct state_loaded *ret)
{
	*parts = parts_new(10000);
	assert_int_equal(state_file_load(path, parts, &config, clock_at(now_ms), ret), 0);
}

static void what_was_saved_is_loaded(void **state)
{
	(void)state;
	struct state_parts parts = parts_new(10000), again;
	struct state_loaded loaded;
	struct stat st;

	fill(&parts);
	save(&parts, "state.json");
	assert_int_equal(stat("state.json", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(access("state.json.new", F_OK), -1);

	load("state.json", &again, NOW_MS, &loaded);
	assert_int_equal(loaded.counters, 3);
	assert_int_equal(loaded.blocks, 2);
	assert_int_equal(loaded.logins, 1);
	assert_int_equal(loaded.dropped + loaded.skipped + loaded.no_room, 0);
	assert_false(loaded.is_cut_off);
	struct store *store = again.memory;
	assert_int_equal(
	    ask(store, "user-hour:ada@example.org", "", 5, false, NOW_MS).kind,
	    OUTCOME_OVER);
	assert_int_equal(used(store, "user-hour:bob@example.org", NOW_MS), 2);
	assert_int_equal(used(store, "user-hour:bob@example.org", NOW_MS + HOUR_MS), 1);
	assert_int_equal(
	    ask(store, "roaming:ada@example.org", "DE", 2, true, NOW_MS).kind,
	    OUTCOME_FITS);
	assert_int_equal(
	    ask(store, "roaming:ada@example.org", "ES", 2, true, NOW_MS).kind,
	    OUTCOME_OVER);
	assert_int_equal(
	    ask(store, "roaming:ada@example.org", "DE", 5, true, NOW_MS + HOUR_MS)
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

	fill(&parts);
	save(&parts, "state.json");
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
	save(&parts, "state.json");
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
		ask(store, key, n % 2 ? member : "", 10, false, at_ms);
	}
}

static void saving_what_was_loaded_is_the_same(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 6; seed++) {
		struct state_parts parts = parts_new(10000), again;
		struct state_loaded loaded;
		random_charges(parts.memory, seed);
		fill_blocks(&parts);
		save(&parts, "one.json");
		load("one.json", &again, NOW_MS, &loaded);
		assert_int_equal(loaded.skipped, 0);
		save(&again, "two.json");
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
	int r = state_file_load(path, &parts, &config, clock_at(NOW_MS), ret);
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

	fill(&parts);
	save(&parts, "state.json");
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

	fill(&parts);
	save(&parts, "state.json");
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
		load("state.json", &parts, NOW_MS, &loaded);
		if (loaded.skipped != 1 || loaded.first_skipped != 2 ||
		    loaded.counters != 1 ||
		    loaded.blocks + loaded.lifted + loaded.logins + loaded.tokens != 0 ||
		    loaded.is_cut_off || used(parts.memory, "user-hour:ada", NOW_MS) != 3)
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
	    state_file_load("none", &parts, &config, clock_at(NOW_MS), &loaded), -ENOENT);
	assert_int_equal(
	    state_file_load("/dev/null", &parts, &config, clock_at(NOW_MS), &loaded),
	    -EINVAL);
	assert_int_equal(
	    state_file_load(".", &parts, &config, clock_at(NOW_MS), &loaded), -EINVAL);
	assert_int_equal(mkfifo("fifo", 0600), 0);
	assert_int_equal(
	    state_file_load("fifo", &parts, &config, clock_at(NOW_MS), &loaded), -EINVAL);
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

	fill(&parts);
	write_bytes("state.json", "old", 3);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small.rlim_max = before.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	int r = state_file_save("state.json", &parts, &config, clock_at(NOW_MS), &saved);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(r, -EFBIG);
	assert_string_equal(saved.step, "write");
	assert_string_equal(read_file("state.json", &len), "old");
	assert_int_equal(access("state.json.new", F_OK), -1);
	save(&parts, "state.json");
	parts_free(&parts);
}

static void folders(void **state)
{
	(void)state;
	struct state_parts parts = parts_new(100);
	struct state_saved saved;

	assert_int_equal(
	    state_file_save("none/state.json", &parts, &config, clock_at(NOW_MS), &saved),
	    -ENOENT);
	assert_string_equal(saved.step, "create");
	assert_int_equal(state_file_probe("none/state.json", &saved), -ENOENT);
	assert_int_equal(mkdir("some", 0700), 0);
	assert_int_equal(state_file_probe("some/state.json", &saved), 0);
	assert_int_equal(access("some/state.json.new", F_OK), -1);
	/* What a killed process left behind is no hindrance. */
	write_bytes("some/state.json.new", "half", 4);
	save(&parts, "some/state.json");
	assert_int_equal(access("some/state.json.new", F_OK), -1);
	assert_int_equal(mkdir("folder.json", 0700), 0);
	assert_true(
	    state_file_save("folder.json", &parts, &config, clock_at(NOW_MS), &saved) <
	    0);
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

	fill(&parts);
	save(&parts, "state.json");
	assert_int_equal(
	    state_file_load("state.json", &again, &no_limits, clock_at(NOW_MS), &loaded),
	    0);
	assert_int_equal(loaded.counters, 0);
	assert_int_equal(loaded.dropped, 3);
	assert_int_equal(loaded.blocks, 2);
	assert_int_equal(loaded.skipped, 0);
	assert_int_equal(rows_in(&again), 0);
	/* With Redis: what this node counts while it is away. */
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

static void load_by(
    struct state_parts *parts, int64_t wall_ms, int64_t steady_ms, const char *boot,
    struct state_loaded *ret)
{
	struct state_clock now = *clock_at(NOW_MS);

	now.wall_ms = wall_ms;
	now.steady_ms = steady_ms;
	snprintf(now.boot, sizeof(now.boot), "%s", boot);
	*parts = parts_new(100);
	assert_int_equal(state_file_load("state.json", parts, &config, &now, ret), 0);
}

/* Ada is up to her limit of 5, and two countries were seen of her. */
static void clocks_that_were_set(void **state)
{
	(void)state;
	enum { MINUTE = 60 * 1000 };
	static const struct {
		const char *why;
		int64_t wall_ms;           /* since the file was written */
		int64_t steady_ms;         /* the same; after another boot: up so long */
		bool boots, over;          /* over: Ada still is */
		int64_t over_ms, ended_ms; /* still over then; not any more then */
	} rows[] = {
	    {"a second", 1000, 1000, false, true, 29 * MINUTE, 90 * MINUTE},
	    {"set forward by a day", 24 * HOUR_MS + 1000, 1000, false, true, 29 * MINUTE,
	     90 * MINUTE},
	    {"set forward by a day and some", 24 * HOUR_MS + 20 * MINUTE, 1000, false,
	     true, 29 * MINUTE, 150 * MINUTE},
	    {"set back by a day and some", -24 * HOUR_MS - 20 * MINUTE, 1000, false, true,
	     29 * MINUTE, 150 * MINUTE},
	    {"set back, and a long stop", -24 * HOUR_MS, 2 * HOUR_MS, false, false, 0, 0},
	    {"a long stop", 2 * HOUR_MS, 2 * HOUR_MS, false, false, 0, 0},
	    {"a boot that took a minute", 2 * MINUTE, MINUTE, true, true, 27 * MINUTE,
	     88 * MINUTE},
	    {"off for a long time, or a wrong clock", 240 * HOUR_MS, MINUTE, true, true,
	     19 * MINUTE, 150 * MINUTE},
	    {"off for a long time, up for as long", 8 * HOUR_MS, 4 * HOUR_MS, true, false,
	     0, 0},
	    {"the year 1970 after a boot", -NOW_MS + MINUTE, MINUTE, true, true,
	     29 * MINUTE, 150 * MINUTE},
	};
	const char *ada = "user-hour:ada@example.org";
	const char *seen = "roaming:ada@example.org";
	struct state_parts parts = parts_new(100), again;
	struct state_loaded loaded;

	fill(&parts);
	save(&parts, "state.json");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int64_t now_ms = NOW_MS + rows[i].wall_ms;
		load_by(
		    &again, now_ms,
		    rows[i].steady_ms + (rows[i].boots ? 0 : 240 * HOUR_MS),
		    rows[i].boots ? "second" : "first", &loaded);
		struct store *store = again.memory;
		bool over = ask(store, ada, "", 5, true, now_ms).kind == OUTCOME_OVER &&
			    ask(store, seen, "ES", 2, true, now_ms).kind == OUTCOME_OVER;
		if (over != rows[i].over || (!over && used(store, ada, now_ms) > 0))
			fail_msg("%s: over: %d", rows[i].why, over);
		if (over && ask(store, ada, "", 5, true, now_ms + rows[i].over_ms).kind !=
				OUTCOME_OVER)
			fail_msg("%s: free too soon", rows[i].why);
		if (over && used(store, ada, now_ms + rows[i].ended_ms) > 0)
			fail_msg("%s: held for too long", rows[i].why);
		parts_free(&again);
	}
	parts_free(&parts);
}

static void keep_block(void *context, const struct block *block)
{
	struct block *kept = context;

	*kept = *block;
}

static void keep_login(void *context, const struct login *login)
{
	struct login *kept = context;

	*kept = *login;
}

/* A block holds as long as it had left, a login is as old as it is. */
static void what_moves_with_the_clock(void **state)
{
	(void)state;
	static const struct {
		const char *why;
		int64_t wall_s; /* since the file was written, and a minute passed */
		bool boots;
		int64_t moved_s;
		size_t logins;
	} rows[] = {
	    {"not set", 60, false, 0, 1},
	    {"set forward by an hour", 3660, false, 3600, 1},
	    {"set back by an hour", -3540, false, -3600, 1},
	    {"nobody knows, forward", 3660, true, 0, 1},
	    {"nobody knows, back", -3540, true, 0, 0},
	};
	int64_t then_s = time(NULL);
	const struct block block = {
	    .kind = BLOCK_CLIENT,
	    .subject = "192.0.2.66",
	    .since_s = then_s,
	    .until_s = then_s + 86400};
	struct login login = {.at_s = then_s - 600, .user = "ada"};
	struct state_parts parts = parts_new(100), again;
	struct state_saved saved;
	struct state_loaded loaded;

	assert_int_equal(blocks_put(parts.blocks, &block), 0);
	assert_true(ip_parse("2001:db8::1", 11, &login.ip));
	assert_int_equal(logins_put(parts.logins, &login), 0);
	assert_int_equal(
	    state_file_save(
		"state.json", &parts, &config, clock_at(then_s * 1000), &saved),
	    0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct block got = {.since_s = 0};
		struct login seen = {.at_s = 0};
		load_by(
		    &again, (then_s + rows[i].wall_s) * 1000,
		    rows[i].boots ? 60000 : clock_at(then_s * 1000)->steady_ms + 60000,
		    rows[i].boots ? "second" : "first", &loaded);
		blocks_each(again.blocks, 0, keep_block, &got);
		logins_each(again.logins, 0, keep_login, &seen);
		if (got.since_s != block.since_s + rows[i].moved_s ||
		    got.until_s != block.until_s + rows[i].moved_s)
			fail_msg("%s: the block", rows[i].why);
		if (loaded.logins != rows[i].logins ||
		    loaded.ageless != 1 - rows[i].logins ||
		    (loaded.logins > 0 && seen.at_s != login.at_s + rows[i].moved_s))
			fail_msg("%s: the login", rows[i].why);
		parts_free(&again);
	}
	parts_free(&parts);
}

static void more_than_fits(void **state)
{
	(void)state;
	struct state_parts parts = parts_new(10000), again = parts_new(50);
	struct state_loaded loaded;
	char key[64];

	for (int i = 0; i < 500; i++) {
		snprintf(key, sizeof(key), "user-hour:u%d", i);
		ask(parts.memory, key, "", i < 30 ? 1 : 5, false, NOW_MS);
	}
	save(&parts, "state.json");
	assert_int_equal(
	    state_file_load("state.json", &again, &config, clock_at(NOW_MS), &loaded), 0);
	assert_int_equal(loaded.counters + loaded.no_room, 500);
	assert_int_equal(rows_in(&again), 50);
	/* None that is up to its max went. */
	for (int i = 0; i < 30; i++) {
		snprintf(key, sizeof(key), "user-hour:u%d", i);
		assert_int_equal(used(again.memory, key, NOW_MS), 1);
	}
	parts_free(&parts);
	parts_free(&again);
}

/* ---- charges that were answered ---- */

/* Charges one to each of @count limits of "0", "1"...: all but the first are soft. */
static struct outcome charge(
    struct store *store, const char *token, size_t count, uint64_t max, int64_t now_ms)
{
	struct outcome outcome = {.kind = OUTCOME_UNAVAILABLE};
	struct charge charges[5];
	const struct store_request request = {
	    .token = token,
	    .token_len = strlen(token),
	    .charges = charges,
	    .count = count,
	    .now_ms = now_ms,
	};

	assert_true(count <= 5);
	for (size_t i = 0; i < count; i++) {
		charges[i] = (struct charge){
		    .window_s = 3600, .amount = 1, .max = max, .hard = i == 0};
		charges[i].key_len =
		    (uint16_t)sprintf(charges[i].key, "user-hour:%zu@example.org", i);
	}
	store_ask(store, &request, keep, &outcome);
	return outcome;
}

static void expect_same(const struct outcome *a, const struct outcome *b, const char *why)
{
	if (a->kind != b->kind || a->count != b->count)
		fail_msg("%s: another outcome", why);
	for (size_t i = 0; i < a->count; i++)
		if (a->results[i].used != b->results[i].used ||
		    a->results[i].over != b->results[i].over ||
		    a->results[i].retry_after_s != b->results[i].retry_after_s)
			fail_msg("%s: another result %zu", why, i);
}

/* Charges of one limit, of some, and of more than a record holds itself; one that is
 * over, one that is over softly. */
static void charges_are_answered_once(void **state)
{
	(void)state;
	static const struct {
		const char *token;
		size_t count;
		uint64_t max;
		enum outcome_kind kind;
	} rows[] = {
	    {"gw1/1", 1, 5, OUTCOME_FITS}, {"gw1/2", 2, 5, OUTCOME_FITS},
	    {"gw1/3", 5, 5, OUTCOME_FITS}, {"gw1/4", 5, 1, OUTCOME_OVER},
	    {"gw1/5", 3, 0, OUTCOME_OVER}, {"gw1/6", 1, 9, OUTCOME_FITS},
	};
	enum { ROWS = sizeof(rows) / sizeof(rows[0]) };
	struct state_parts parts = parts_new(100), again, third;
	struct outcome said[ROWS];
	struct state_loaded loaded;

	for (size_t i = 0; i < ROWS; i++) {
		said[i] = charge(
		    parts.memory, rows[i].token, rows[i].count, rows[i].max, NOW_MS);
		assert_int_equal(said[i].kind, rows[i].kind);
	}
	save(&parts, "state.json");
	load("state.json", &again, NOW_MS, &loaded);
	assert_int_equal(loaded.tokens, ROWS);
	assert_int_equal(loaded.skipped, 0);
	save(&again, "state.json");
	load("state.json", &third, NOW_MS, &loaded);
	for (size_t i = 0; i < ROWS; i++) {
		struct outcome second = charge(
		    third.memory, rows[i].token, rows[i].count, rows[i].max, NOW_MS);
		expect_same(&said[i], &second, rows[i].token);
	}
	assert_int_equal(used(third.memory, "user-hour:0@example.org", NOW_MS), 4);
	charge(third.memory, "gw1/7", 1, 9, NOW_MS);
	assert_int_equal(used(third.memory, "user-hour:0@example.org", NOW_MS), 5);
	parts_free(&parts);
	parts_free(&again);
	parts_free(&third);
}

static void charges_of_long_ago(void **state)
{
	(void)state;
	enum { MINUTE = 60 * 1000 };
	struct state_parts parts = parts_new(100), again;
	struct state_loaded loaded;
	struct state_saved saved;

	charge(parts.memory, "gw1/1", 1, 9, NOW_MS - 16 * MINUTE);
	charge(parts.memory, "gw1/2", 1, 9, NOW_MS - 10 * MINUTE);
	charge(parts.memory, "gw1/3", 1, 9, NOW_MS);
	save(&parts, "state.json");
	load("state.json", &again, NOW_MS + 6 * MINUTE, &loaded);
	assert_int_equal(loaded.tokens, 1);
	parts_free(&again);
	/* By the clock that goes on; one that was set back makes none younger. */
	load_by(&again, NOW_MS - HOUR_MS, 240 * HOUR_MS + 14 * MINUTE, "first", &loaded);
	assert_int_equal(loaded.tokens, 1);
	struct state_clock set_back = *clock_at(NOW_MS + 14 * MINUTE);
	set_back.wall_ms = NOW_MS - HOUR_MS;
	assert_int_equal(
	    state_file_save("state.json", &again, &config, &set_back, &saved), 0);
	assert_int_equal(saved.tokens, 1);
	parts_free(&again);
	load_by(&again, NOW_MS - HOUR_MS + 2 * MINUTE, MINUTE, "second", &loaded);
	assert_int_equal(loaded.tokens, 0);
	parts_free(&again);
	parts_free(&parts);
}

/* A store that serves has tokens by a key of its own. */
static void tokens_of_a_file_that_was_read_late(void **state)
{
	(void)state;
	struct state_parts parts = parts_new(100), late = parts_new(100);
	struct state_loaded loaded;

	charge(parts.memory, "gw1/1", 1, 9, NOW_MS);
	save(&parts, "state.json");
	struct outcome said = charge(late.memory, "gw1/2", 1, 9, NOW_MS);
	late.serves = true;
	assert_int_equal(
	    state_file_load("state.json", &late, &config, clock_at(NOW_MS), &loaded), 0);
	assert_int_equal(loaded.tokens, 0);
	assert_int_equal(loaded.skipped, 0);
	struct outcome second = charge(late.memory, "gw1/2", 1, 9, NOW_MS);
	expect_same(&said, &second, "its own");
	parts_free(&parts);
	parts_free(&late);
}

/* The newest are saved, and the file does not grow beyond them. */
static void more_charges_than_are_saved(void **state)
{
	(void)state;
	enum { MANY = 2 * STATE_TOKENS_MAX };
	struct state_parts parts = parts_new(2 * MANY), again = parts_new(2 * MANY);
	struct state_saved saved;
	struct state_loaded loaded;
	char token[32];

	for (int i = 0; i < MANY; i++) {
		snprintf(token, sizeof(token), "gw1/%d", i);
		charge(parts.memory, token, 1, 2 * MANY, NOW_MS - MANY + i);
	}
	assert_int_equal(
	    state_file_save("state.json", &parts, &config, clock_at(NOW_MS), &saved), 0);
	assert_in_range(saved.tokens, STATE_TOKENS_MAX * 9 / 10, STATE_TOKENS_MAX + 64);
	assert_int_equal(
	    state_file_load("state.json", &again, &config, clock_at(NOW_MS), &loaded), 0);
	assert_int_equal(loaded.tokens, saved.tokens);
	for (int i = MANY - 1000; i < MANY; i++) {
		snprintf(token, sizeof(token), "gw1/%d", i);
		struct outcome outcome = charge(again.memory, token, 1, 2 * MANY, NOW_MS);
		assert_int_equal(outcome.results[0].used, i + 1);
	}
	parts_free(&parts);
	parts_free(&again);
}

/* ---- lifted blocks ---- */

static int hear_of_block(struct state_parts *parts, int64_t stamp_ms)
{
	static const char key[] = "client:192.0.2.66", text[] = "-\troot@gw2\tspam";
	const struct record record = {
	    .key = key,
	    .key_len = sizeof(key) - 1,
	    .text = text,
	    .text_len = sizeof(text) - 1,
	};

	/* Made just now, by clocks that do not agree. */
	return ledger_merge(
	    blocks_ledger(parts->blocks), &record, 0, -1, stamp_ms, 1, LEDGER_REFUSE);
}

static void count_block(void *context, const struct block *block)
{
	size_t *count = context;

	assert_string_equal(block->subject, "192.0.2.66");
	++*count;
}

static size_t blocks_in(const struct state_parts *parts)
{
	size_t count = 0;

	blocks_each(parts->blocks, time(NULL), count_block, &count);
	return count;
}

static void keep_lifted(void *context, const struct lifted_block *lifted)
{
	struct lifted_block *kept = context;

	*kept = *lifted;
}

static void load_lifted(struct state_parts *parts, struct lifted_block *ret)
{
	struct state_loaded loaded;

	*ret = (struct lifted_block){.kind = BLOCK_KINDS};
	load("state.json", parts, NOW_MS, &loaded);
	assert_int_equal(loaded.skipped, 0);
	blocks_each_lifted(parts->blocks, time(NULL), keep_lifted, ret);
	assert_int_equal(loaded.lifted, ret->kind != BLOCK_KINDS);
}

/* What was lifted stays so, whatever those say who have not heard of it. */
static void lifted_blocks(void **state)
{
	(void)state;
	enum { STAMP = 5000 };
	struct state_parts parts = parts_new(100), again;
	struct lifted_block first, second;

	assert_int_equal(hear_of_block(&parts, STAMP), 0);
	assert_int_equal(blocks_in(&parts), 1);
	assert_true(blocks_remove(parts.blocks, BLOCK_CLIENT, "192.0.2.66"));
	save(&parts, "state.json");
	parts_free(&parts);

	load_lifted(&again, &first);
	assert_int_equal(first.kind, BLOCK_CLIENT);
	assert_string_equal(first.subject, "192.0.2.66");
	assert_int_equal(first.base_ms, STAMP);
	assert_int_equal(blocks_in(&again), 0);
	assert_int_equal(hear_of_block(&again, STAMP), 0);
	assert_int_equal(blocks_in(&again), 0);
	/* The same over a second restart, and its end is the same. */
	save(&again, "state.json");
	parts_free(&again);
	load_lifted(&again, &second);
	assert_int_equal(second.at_ms, first.at_ms);
	assert_int_equal(second.until_ms, first.until_ms);
	assert_int_equal(second.base_ms, STAMP);
	/* A block that was made since holds. */
	assert_int_equal(hear_of_block(&again, STAMP + 1), 0);
	assert_int_equal(blocks_in(&again), 1);
	parts_free(&again);
}

/* The stamp that others know a block by comes back with it: one that they lifted since is
 * lifted here too, and one that was lifted here first is known to be younger. */
static void blocks_that_others_know(void **state)
{
	(void)state;
	static const char key[] = "client:192.0.2.66";
	const struct record tombstone = {
	    .key = key, .key_len = sizeof(key) - 1, .text = "", .removed = true};
	struct state_parts parts = parts_new(100), again;
	struct state_loaded loaded;
	struct lifted_block lifted;

	assert_int_equal(hear_of_block(&parts, 5000), 0);
	save(&parts, "state.json");
	parts_free(&parts);
	load("state.json", &again, NOW_MS, &loaded);
	assert_int_equal(loaded.blocks, 1);
	/* Lifted an hour ago, by clocks that do not agree. */
	assert_int_equal(
	    ledger_merge(
		blocks_ledger(again.blocks), &tombstone, HOUR_MS, HOUR_MS, 6000, 1,
		LEDGER_REFUSE),
	    0);
	assert_int_equal(blocks_in(&again), 0);
	parts_free(&again);

	load("state.json", &again, NOW_MS, &loaded);
	assert_true(blocks_remove(again.blocks, BLOCK_CLIENT, "192.0.2.66"));
	blocks_each_lifted(again.blocks, time(NULL), keep_lifted, &lifted);
	assert_int_equal(lifted.base_ms, 5000);
	parts_free(&again);
}

/* A file that could be read late only: what was done meanwhile counts. */
static void lifted_before_it_was_read(void **state)
{
	(void)state;
	struct state_parts parts = parts_new(100);
	struct state_loaded loaded;

	assert_int_equal(hear_of_block(&parts, 5000), 0);
	save(&parts, "state.json");
	assert_true(blocks_remove(parts.blocks, BLOCK_CLIENT, "192.0.2.66"));
	assert_int_equal(
	    state_file_load("state.json", &parts, &config, clock_at(NOW_MS), &loaded), 0);
	assert_int_equal(blocks_in(&parts), 0);
	parts_free(&parts);
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
		ask(parts.memory, key, "", 5, false, NOW_MS);
	}
	long before = peak_kib();
	save(&parts, "state.json");
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
	    cmocka_unit_test(clocks_that_were_set),
	    cmocka_unit_test(what_moves_with_the_clock),
	    cmocka_unit_test(more_than_fits),
	    cmocka_unit_test(charges_are_answered_once),
	    cmocka_unit_test(charges_of_long_ago),
	    cmocka_unit_test(tokens_of_a_file_that_was_read_late),
	    cmocka_unit_test(more_charges_than_are_saved),
	    cmocka_unit_test(lifted_blocks),
	    cmocka_unit_test(blocks_that_others_know),
	    cmocka_unit_test(lifted_before_it_was_read),
	    cmocka_unit_test(memory),
	};

	signal(SIGXFSZ, SIG_IGN);
	return cmocka_run_group_tests(tests, config_files_setup, config_files_teardown);
}
