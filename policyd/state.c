/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/state.h"

#include "common/cleanup.h"
#include "common/log.h"
#include "common/printable.h"
#include "common/thread.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* How often the thread looks whether a block or a login changed: two atomic loads. */
#define LOOK_MS 250

#define SAVE_MS 60000

/* After each saving blocks and logins wait for so many times what it took. */
#define REST_FACTOR 4

/* As the loader's: gives way, without being starved while it holds a lock. */
#define SAVER_NICE 5

/* What the last saved file, or the loaded one, knew of. */
struct known {
	uint64_t counters, records;
};

struct state {
	char *path;
	char shown[PATH_MAX]; /* @path, printable */
	struct state_parts parts;
	struct reload *reload;
	struct config_view view;
	struct known saved;
	bool loaded;         /* or there was nothing to load: may be written over */
	const char *failure; /* the step that failed last; NULL: it works */
	int failure_r;
	int64_t tried_ms, rest_ms; /* steady clock; how long to wait after tried_ms */
	pthread_t thread;
	bool running, stopping;
	pthread_mutex_t lock; /* of @stopping */
	pthread_cond_t wake;
};

static int64_t clock_ms(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static uint64_t records_changed(const struct state *state)
{
	return blocks_generation(state->parts.blocks) +
	       logins_generation(state->parts.logins);
}

static void note_known(struct state *state)
{
	state->saved.counters = store_memory_changes(state->parts.memory);
	state->saved.records = records_changed(state);
}

/* ---- what is told ---- */

static void print_remedy(int r, char *buf, size_t size)
{
	switch (-r) {
	case ENOSPC:
	case EDQUOT:
		snprintf(buf, size, "make room on its file system");
		break;
	case ENOENT:
	case ENOTDIR:
		snprintf(
		    buf, size, "create its folder, writable for uid %u",
		    (unsigned)geteuid());
		break;
	case EACCES:
	case EPERM:
		snprintf(
		    buf, size, "make it and its folder accessible to uid %u",
		    (unsigned)geteuid());
		break;
	case EROFS:
		snprintf(buf, size, "mount its file system writable");
		break;
	case EINVAL:
	case EISDIR:
		snprintf(buf, size, "name a regular file in policyd.state");
		break;
	default:
		snprintf(buf, size, "see to its file system");
		break;
	}
}

/* Once for each fault, however often it is tried. */
static void tell_failure(
    struct state *state, const char *step, const char *consequence, int r)
{
	char remedy[120];

	if (state->failure && state->failure_r == r && strcmp(state->failure, step) == 0)
		return;
	state->failure = step;
	state->failure_r = r;
	print_remedy(r, remedy, sizeof(remedy));
	log_error(
	    "state file %s: cannot %s it: %s; %s; mail goes on; %s; tried again each "
	    "minute",
	    state->shown, step, strerror(-r), consequence, remedy);
}

static void tell_success(struct state *state)
{
	if (state->failure)
		log_info("state file %s: works again", state->shown);
	state->failure = NULL;
}

static void tell_loaded(const struct state *state, const struct state_loaded *loaded)
{
	log_info(
	    "state file %s: %" PRIu64 " counters, %" PRIu64 " blocks, %" PRIu64
	    " logins, outcomes of %" PRIu64 " charges; %" PRIu64
	    " counters have ended or have no limit any more",
	    state->shown, loaded->counters, loaded->blocks, loaded->logins,
	    loaded->tokens, loaded->dropped);
	if (loaded->ageless > 0)
		log_warning(
		    "state file %s: the clock stands before the time at which it was "
		    "written, over a boot; %" PRIu64 " logins in it count no more, those "
		    "clients have to log in anew; set the clock",
		    state->shown, loaded->ageless);
	if (loaded->skipped > 0)
		log_warning(
		    "state file %s:%" PRIu64 ": no record; %" PRIu64
		    " such lines skipped, what they held counts no more; look for a "
		    "fault of the disk",
		    state->shown, loaded->first_skipped, loaded->skipped);
	if (loaded->is_cut_off)
		log_warning(
		    "state file %s: lines are missing; what they held counts no more; "
		    "look for a fault of the disk",
		    state->shown);
	if (loaded->no_room > 0)
		log_warning(
		    "state file %s: %" PRIu64 " records found no room and count no more",
		    state->shown, loaded->no_room);
}

/* ---- loading ---- */

/* Puts a file aside that is none of ours. True: it is out of the way. */
static bool put_aside(struct state *state)
{
	char name[PATH_MAX];
	int len = snprintf(name, sizeof(name), "%s.broken", state->path);
	int r = len < PATH_MAX ? 0 : -ENAMETOOLONG;

	if (r == 0 && rename(state->path, name) < 0)
		r = -errno;
	if (r < 0) {
		tell_failure(
		    state, "rename", "it is no state file, and nothing is saved", r);
		return false;
	}
	log_warning(
	    "state file %s: it is no state file of this version; kept as %s.broken; "
	    "counters, blocks and logins begin empty; remove it once it is of no use",
	    state->shown, state->shown);
	return true;
}

/* There is no file: fine, if there can be one. */
static void expect_none(struct state *state)
{
	struct state_saved saved;
	int r = state_file_probe(state->path, &saved);

	if (r < 0)
		tell_failure(
		    state, saved.step,
		    "counters, blocks and logins will not outlive this process", r);
	state->loaded = r == 0;
}

static void load(struct state *state, const struct config *config)
{
	struct state_loaded loaded;
	struct state_clock now;

	state_clock_read(&now);
	state->parts.serves = state->running;
	int r = state_file_load(state->path, &state->parts, config, &now, &loaded);

	if (r == -ENOENT) {
		expect_none(state);
	} else if (r == STATE_FOREIGN) {
		state->loaded = put_aside(state);
	} else if (r < 0) {
		tell_failure(
		    state, "read",
		    "the counters, blocks and logins in it do not count, and none are "
		    "saved",
		    r);
	} else {
		tell_loaded(state, &loaded);
		state->loaded = true;
	}
	if (state->loaded)
		tell_success(state);
}

/* ---- saving ---- */

static bool has_changed(struct state *state)
{
	return state->saved.records != records_changed(state) ||
	       state->saved.counters != store_memory_changes(state->parts.memory);
}

static void save(struct state *state)
{
	struct state_saved saved;
	struct state_clock now;
	struct config *config = reload_view(state->reload, &state->view);
	struct known before = state->saved;
	int64_t began_ms = clock_ms(CLOCK_BOOTTIME);

	state->tried_ms = began_ms;
	state->rest_ms = SAVE_MS;
	if (!state->loaded)
		load(state, config);
	if (!state->loaded || (!state->failure && !has_changed(state)))
		return;
	/* What changes while it is written may be missing in it. */
	note_known(state);
	state_clock_read(&now);
	int r = state_file_save(state->path, &state->parts, config, &now, &saved);
	if (r < 0) {
		state->saved = before;
		tell_failure(
		    state, saved.step,
		    "counters, blocks and logins of late will not outlive this process",
		    r);
		return;
	}
	tell_success(state);
	state->tried_ms = clock_ms(CLOCK_BOOTTIME);
	state->rest_ms = REST_FACTOR * (state->tried_ms - began_ms);
	log_debug(
	    "state file %s: saved %" PRIu64 " counters, %" PRIu64 " blocks, %" PRIu64
	    " logins, outcomes of %" PRIu64 " charges in %" PRId64 " ms",
	    state->shown, saved.counters, saved.blocks, saved.logins, saved.tokens,
	    state->tried_ms - began_ms);
}

static bool is_due(const struct state *state)
{
	int64_t since_ms = clock_ms(CLOCK_BOOTTIME) - state->tried_ms;

	return since_ms >= SAVE_MS || (since_ms >= state->rest_ms &&
				       state->saved.records != records_changed(state));
}

/* False: it is time to end. */
static bool pause_until_next_look(struct state *state)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += LOOK_MS * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	pthread_mutex_lock(&state->lock);
	if (!state->stopping)
		pthread_cond_timedwait(&state->wake, &state->lock, &until);
	bool stopping = state->stopping;
	pthread_mutex_unlock(&state->lock);
	return !stopping;
}

static void *saver(void *context)
{
	struct state *state = context;

	/* Linux nices a thread of its own. */
	if (setpriority(PRIO_PROCESS, (id_t)gettid(), SAVER_NICE) < 0)
		log_debug("the saver keeps the serving threads' priority");
	while (pause_until_next_look(state))
		if (is_due(state))
			save(state);
	return NULL;
}

/* ---- beginning and end ---- */

int state_start(struct state *state)
{
	int r = thread_start(&state->thread, "state", saver, state);

	state->running = r == 0;
	return r;
}

struct state *state_free(struct state *state)
{
	if (!state)
		return NULL;
	if (state->running) {
		pthread_mutex_lock(&state->lock);
		state->stopping = true;
		pthread_cond_signal(&state->wake);
		pthread_mutex_unlock(&state->lock);
		pthread_join(state->thread, NULL);
		save(state);
	}
	reload_view_done(state->reload, &state->view);
	pthread_cond_destroy(&state->wake);
	pthread_mutex_destroy(&state->lock);
	free(state->path);
	free(state);
	return NULL;
}

int state_new(
    const char *path, const struct state_parts *parts, const struct config *config,
    struct reload *reload, struct state **ret)
{
	struct state *state = calloc(1, sizeof(*state));

	if (!state)
		return -ENOMEM;
	state->path = strdup(path);
	if (!state->path) {
		free(state);
		return -ENOMEM;
	}
	printable(state->shown, sizeof(state->shown), path, strlen(path));
	state->parts = *parts;
	state->reload = reload;
	pthread_mutex_init(&state->lock, NULL);
	thread_cond_init(&state->wake);
	load(state, config);
	note_known(state);
	state->tried_ms = clock_ms(CLOCK_BOOTTIME);
	/* What could not be loaded is tried again in a minute. */
	state->rest_ms = state->loaded ? 0 : SAVE_MS;
	*ret = state;
	return 0;
}
