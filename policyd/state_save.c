/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/state_file.h"

#include "policyd/state_known.h"
#include "policyd/state_text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Written out in lumps of this size. */
#define LUMP 65536

struct saving {
	struct state_text text;
	struct state_saved *result;
	struct known_limits known;
	struct memory_member *members; /* of a set that has aged */
	size_t members_size;
	uint64_t records;
	uint64_t token_key[2];
	const struct state_clock *now;
	int fd;
	int r; /* of the first failure */
};

/* The folder of @path. 0 or -ENAMETOOLONG. */
static int folder_of(const char *path, char buf[static PATH_MAX])
{
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;

	if (len >= PATH_MAX)
		return -ENAMETOOLONG;
	memcpy(buf, path, len);
	buf[len] = '\0';
	if (len == 0)
		strcpy(buf, slash ? "/" : ".");
	return 0;
}

static int failed(struct state_saved *result, const char *step, int r)
{
	result->step = step;
	return r;
}

/* FILE.new, empty; what a killed process left there goes. */
static int open_new(const char *name, struct state_saved *result)
{
	if (unlink(name) < 0 && errno != ENOENT)
		return failed(result, "remove", -errno);
	int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return fd >= 0 ? fd : failed(result, "create", -errno);
}

static int new_name(const char *path, char buf[static PATH_MAX])
{
	int len = snprintf(buf, PATH_MAX, "%s.new", path);
	return len < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static void flush(struct saving *saving)
{
	size_t done = 0;

	if (saving->text.failed && saving->r == 0)
		saving->r = failed(saving->result, "write", -ENOMEM);
	while (saving->r == 0 && done < saving->text.len) {
		ssize_t n =
		    write(saving->fd, saving->text.bytes + done, saving->text.len - done);
		if (n > 0)
			done += (size_t)n;
		else if (n == 0 || errno != EINTR)
			saving->r =
			    failed(saving->result, "write", n == 0 ? -EIO : -errno);
	}
	saving->text.len = 0;
}

static bool take_record(struct saving *saving)
{
	saving->records++;
	if (saving->text.len >= LUMP)
		flush(saving);
	return saving->r == 0;
}

/* A bucket has ended since the set was last used: only what was seen in it is left. */
static int age_members(struct saving *saving, struct memory_counter *counter)
{
	size_t kept = 0;

	if (counter->members_count > saving->members_size) {
		struct memory_member *members = reallocarray(
		    saving->members, counter->members_count, sizeof(*members));
		if (!members)
			return -ENOMEM;
		saving->members = members;
		saving->members_size = counter->members_count;
	}
	for (size_t i = 0; i < counter->members_count; i++)
		if (!counter->members[i].previous) {
			saving->members[kept] = counter->members[i];
			saving->members[kept++].previous = true;
		}
	counter->members = saving->members;
	counter->members_count = kept;
	return 0;
}

/* As it is now. Returns its use, 0 also without memory. */
static uint64_t roll(struct saving *saving, struct memory_counter *counter)
{
	const struct window before = counter->window;
	struct window *window = &counter->window;

	if (!counter->distinct)
		return window_use(window, counter->window_s, saving->now->wall_ms);
	uint64_t use = distinct_use(window, counter->window_s, saving->now->wall_ms);
	if (use > 0 &&
	    (before.current != window->current || before.previous != window->previous) &&
	    age_members(saving, counter) < 0) {
		saving->r = failed(saving->result, "write", -ENOMEM);
		return 0;
	}
	return use;
}

static bool on_counter(void *context, const struct memory_counter *seen)
{
	struct saving *saving = context;
	struct memory_counter counter = *seen;

	if (roll(saving, &counter) == 0 ||
	    !limit_is_known(&saving->known, counter.key, counter.key_len))
		return saving->r == 0;
	state_print_counter(&saving->text, saving->records == 0, &counter);
	saving->result->counters++;
	return take_record(saving);
}

static bool on_token(void *context, const struct memory_token *token)
{
	struct saving *saving = context;

	if (saving->result->tokens == 0) {
		state_print_token_key(
		    &saving->text, saving->records == 0, saving->token_key);
		saving->records++;
	}
	state_print_token(&saving->text, saving->records == 0, token);
	saving->result->tokens++;
	return take_record(saving);
}

/* Under the tables' lock: text alone, no file. */
static void on_block(void *context, const struct block *block)
{
	struct saving *saving = context;

	state_print_block(&saving->text, saving->records == 0, block);
	saving->result->blocks++;
	saving->records++;
}

static void on_lifted(void *context, const struct lifted_block *lifted)
{
	struct saving *saving = context;

	state_print_lifted(&saving->text, saving->records == 0, lifted);
	saving->result->lifted++;
	saving->records++;
}

static void on_login(void *context, const struct login *login)
{
	struct saving *saving = context;

	state_print_login(&saving->text, saving->records == 0, login);
	saving->result->logins++;
	saving->records++;
}

/*
 * The tokens before the counters: what is charged in between is counted and has no token,
 * so that its repetition is counted again. The other way round it would not be counted.
 */
static void write_store(struct saving *saving, struct store *memory)
{
	int64_t since_ms = saving->now->wall_ms - STORE_TOKEN_S * 1000;

	store_memory_token_key(memory, saving->token_key);
	int r =
	    store_memory_each_token(memory, STATE_TOKENS_MAX, since_ms, on_token, saving);
	if (r == 0)
		r = store_memory_each(memory, on_counter, saving);
	if (r < 0 && saving->r == 0)
		saving->r = failed(saving->result, "write", r);
}

static void write_all(struct saving *saving, const struct state_parts *parts)
{
	int64_t now_s = saving->now->wall_ms / 1000;

	state_print_head(&saving->text, saving->now);
	blocks_each(parts->blocks, now_s, on_block, saving);
	flush(saving);
	blocks_each_lifted(parts->blocks, now_s, on_lifted, saving);
	flush(saving);
	logins_each(parts->logins, now_s - LOGINS_KEEP_S, on_login, saving);
	flush(saving);
	if (saving->r == 0)
		write_store(saving, parts->memory);
	state_print_tail(&saving->text, saving->records);
	flush(saving);
	if (saving->r == 0 && fsync(saving->fd) < 0)
		saving->r = failed(saving->result, "sync", -errno);
}

/* The new name is on the disk once the folder is. */
static int sync_folder(const char *path, struct state_saved *result)
{
	char folder[PATH_MAX];
	int r = folder_of(path, folder);
	if (r < 0)
		return failed(result, "open the folder of", r);
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return failed(result, "open the folder of", -errno);
	/* Some file systems have nothing to sync in a folder. */
	r = fsync(fd) < 0 && errno != EINVAL
		? failed(result, "sync the folder of", -errno)
		: 0;
	close(fd);
	return r;
}

int state_file_save(
    const char *path, const struct state_parts *parts, const struct config *config,
    const struct state_clock *now, struct state_saved *ret)
{
	struct saving saving = {.now = now, .result = ret};
	char name[PATH_MAX];

	*ret = (struct state_saved){0};
	saving.r = new_name(path, name);
	if (saving.r < 0)
		return failed(ret, "create", saving.r);
	saving.fd = open_new(name, ret);
	if (saving.fd < 0)
		return saving.fd;
	known_limits_set(&saving.known, config);
	write_all(&saving, parts);
	state_text_done(&saving.text);
	free(saving.members);
	if (close(saving.fd) < 0 && saving.r == 0)
		saving.r = failed(ret, "write", -errno);
	if (saving.r == 0 && rename(name, path) < 0)
		saving.r = failed(ret, "rename", -errno);
	if (saving.r == 0)
		return sync_folder(path, ret);
	unlink(name);
	return saving.r;
}

int state_file_probe(const char *path, struct state_saved *ret)
{
	char name[PATH_MAX];

	*ret = (struct state_saved){0};
	int r = new_name(path, name);
	if (r < 0)
		return failed(ret, "create", r);
	int fd = open_new(name, ret);
	if (fd < 0)
		return fd;
	close(fd);
	return unlink(name) < 0 ? failed(ret, "remove", -errno) : 0;
}
