/* SPDX-License-Identifier: BSD-2-Clause */
#include "milter/children.h"

#include "common/log.h"
#include "common/service.h"
#include "milter/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BACK_OFF_MIN_MS 100
#define BACK_OFF_MAX_MS 10000
#define STEADY_MS       60000
/* A child gives the messages under way 10 s. */
#define STOP_MAX_MS 15000

struct child {
	size_t number;
	int socket;          /* not its own: children share it */
	pid_t pid;           /* 0: not running */
	int command, status; /* -1: closed */
	bool ready, was_ready;
	bool asked; /* a reload waits for its answer */
	bool prepared;
	int64_t started_ms, start_at_ms;
	int64_t back_off_ms;
};

enum reload {
	RELOAD_NONE,
	RELOAD_PREPARING,  /* children read the file */
	RELOAD_PUBLISHING, /* all of them could; they take it into use */
};

struct children {
	struct children_params params;
	struct child *items;
	size_t count;
	bool announced;     /* READY went to systemd */
	bool reload_wanted; /* HUP came */
	enum reload reload;
	bool stopping;
	int64_t kill_at_ms;
	int exit_code;
};

extern char **environ;

static int64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int children_lift(int fd)
{
	int lifted = fcntl(fd, F_DUPFD_CLOEXEC, FD_FLOOR);
	int code = errno;
	close(fd);
	errno = code;
	return lifted;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

int children_new(const struct children_params *params, struct children **ret)
{
	struct children *all = calloc(1, sizeof(*all));
	size_t count = params->sockets_count * params->each;
	if (!all)
		return -ENOMEM;
	all->params = *params;
	all->items = calloc(count + 1, sizeof(*all->items));
	if (!all->items) {
		free(all);
		return -ENOMEM;
	}
	all->count = count;
	for (size_t i = 0; i < count; i++)
		all->items[i] = (struct child){
		    .number = i,
		    .socket = params->sockets[i / params->each],
		    .command = -1,
		    .status = -1,
		};
	*ret = all;
	return 0;
}

struct children *children_free(struct children *all)
{
	if (!all)
		return NULL;
	for (size_t i = 0; i < all->count; i++) {
		close_fd(&all->items[i].command);
		close_fd(&all->items[i].status);
	}
	free(all->items);
	free(all);
	return NULL;
}

static int open_pipe(int fds[2])
{
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -1;
	fds[0] = children_lift(fds[0]);
	fds[1] = children_lift(fds[1]);
	return fds[0] < 0 || fds[1] < 0 ? -1 : 0;
}

/* Where there is nothing to give the child must not find what somebody left open there
 * when we were started. */
static void give(posix_spawn_file_actions_t *actions, int fd, int number)
{
	if (fd >= 0)
		posix_spawn_file_actions_adddup2(actions, fd, number);
	else
		posix_spawn_file_actions_addclose(actions, number);
}

static int spawn(const struct children *all, struct child *child, int command, int status)
{
	static const char exe[] = "/proc/self/exe";
	char name[] = "postern-milter", option[] = "--child", config_option[] = "-c";
	char syslog_option[] = "--syslog";
	char number[24];
	char *config = strdup(all->params.config_path);
	snprintf(number, sizeof(number), "%zu", child->number);
	char *argv[] = {name,   option,
			number, config_option,
			config, all->params.to_syslog ? syslog_option : NULL,
			NULL};

	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none;
	sigemptyset(&none);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, child->socket, CHILD_SOCKET);
	posix_spawn_file_actions_adddup2(&actions, command, CHILD_COMMAND);
	posix_spawn_file_actions_adddup2(&actions, status, CHILD_STATUS);
	give(&actions, all->params.metrics, CHILD_METRICS);
	give(&actions, all->params.page, CHILD_PAGE);
	give(&actions, child->number == 0 ? all->params.control : -1, CHILD_CONTROL);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	int r = config
		    ? posix_spawn(&child->pid, exe, &actions, &attributes, argv, environ)
		    : ENOMEM;
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	free(config);
	return r;
}

static void schedule(struct child *child)
{
	if (now_ms() - child->started_ms >= STEADY_MS || child->back_off_ms == 0)
		child->back_off_ms = BACK_OFF_MIN_MS;
	else if (child->back_off_ms * 2 <= BACK_OFF_MAX_MS)
		child->back_off_ms *= 2;
	else
		child->back_off_ms = BACK_OFF_MAX_MS;
	child->start_at_ms = now_ms() + child->back_off_ms;
}

static void start_child(struct children *all, struct child *child)
{
	int command[2] = {-1, -1}, status[2] = {-1, -1};
	child->started_ms = now_ms();
	child->ready = child->asked = child->prepared = false;
	int r = open_pipe(command) < 0 || open_pipe(status) < 0 ? errno : 0;
	if (r == 0)
		r = spawn(all, child, command[0], status[1]);
	close_fd(&command[0]);
	close_fd(&status[1]);
	if (r != 0) {
		close_fd(&command[1]);
		close_fd(&status[0]);
		child->pid = 0;
		schedule(child);
		log_error(
		    "cannot start child %zu: %s; connections wait, next try in %lld ms",
		    child->number, strerror(r), (long long)child->back_off_ms);
		return;
	}
	child->command = command[1];
	child->status = status[0];
	fcntl(child->command, F_SETFL, O_NONBLOCK);
	fcntl(child->status, F_SETFL, O_NONBLOCK);
}

void children_start_due(struct children *all)
{
	if (all->stopping)
		return;
	int64_t now = now_ms();
	for (size_t i = 0; i < all->count; i++) {
		struct child *child = &all->items[i];
		if (child->pid == 0 && child->start_at_ms <= now)
			start_child(all, child);
	}
}

static bool any_running(const struct children *all)
{
	for (size_t i = 0; i < all->count; i++) {
		if (all->items[i].pid != 0)
			return true;
	}
	return false;
}

void children_stop(struct children *all, int exit_code)
{
	if (all->stopping)
		return;
	all->stopping = true;
	all->exit_code = exit_code;
	all->kill_at_ms = now_ms() + STOP_MAX_MS;
	service_notify("STOPPING=1");
	for (size_t i = 0; i < all->count; i++)
		close_fd(&all->items[i].command);
}

static void describe_end(int status, char *buf, size_t size)
{
	if (WIFSIGNALED(status))
		snprintf(
		    buf, size, "was killed by signal %d (%s)", WTERMSIG(status),
		    strsignal(WTERMSIG(status)));
	else
		snprintf(buf, size, "left with exit code %d", WEXITSTATUS(status));
}

static void child_ended(struct children *all, struct child *child, int status)
{
	char how[128];
	child->pid = 0;
	close_fd(&child->command);
	close_fd(&child->status);
	child->ready = child->asked = child->prepared = false;
	if (all->stopping)
		return;
	/* The children have said why, one line per error. */
	if (!child->was_ready && WIFEXITED(status) &&
	    WEXITSTATUS(status) == EXIT_CONFIG) {
		children_stop(all, EXIT_CONFIG);
		return;
	}
	schedule(child);
	describe_end(status, how, sizeof(how));
	log_error(
	    "child %zu %s; connections wait, it is started again in %lld ms",
	    child->number, how, (long long)child->back_off_ms);
}

void children_reap(struct children *all)
{
	for (size_t i = 0; i < all->count; i++) {
		struct child *child = &all->items[i];
		int status;
		if (child->pid != 0 &&
		    waitpid(child->pid, &status, WNOHANG) == child->pid)
			child_ended(all, child, status);
	}
}

/* ---- reload ---- */

static void tell(struct child *child, enum child_command command)
{
	char byte = (char)command;
	/* One that cannot be told is dead or dying, and starts with the new file. */
	if (child->command >= 0 && write(child->command, &byte, 1) < 0)
		child->asked = false;
}

static bool all_ready(const struct children *all)
{
	for (size_t i = 0; i < all->count; i++) {
		if (!all->items[i].ready)
			return false;
	}
	return true;
}

static void announce(struct children *all)
{
	if (all->announced || !all_ready(all))
		return;
	all->announced = true;
	service_notify("READY=1\nSTATUS=serving");
	log_info("ready: %zu children", all->count);
}

static void begin_reload(struct children *all)
{
	char state[96];
	if (!all->reload_wanted || all->reload != RELOAD_NONE || all->stopping ||
	    !all_ready(all))
		return;
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	snprintf(
	    state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%lld",
	    (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
	service_notify(state);
	all->reload_wanted = false;
	all->reload = RELOAD_PREPARING;
	for (size_t i = 0; i < all->count; i++) {
		all->items[i].asked = true;
		all->items[i].prepared = false;
		tell(&all->items[i], CHILD_PREPARE);
	}
}

static bool any_asked(const struct children *all)
{
	for (size_t i = 0; i < all->count; i++) {
		if (all->items[i].asked)
			return true;
	}
	return false;
}

/* All have answered PREPARE: PUBLISH or DROP. */
static void settle_reload(struct children *all)
{
	bool good = true;
	/* A child that was started meanwhile has read the new file by itself. */
	for (size_t i = 0; i < all->count; i++)
		good = good && (all->items[i].prepared || !all->items[i].ready);
	for (size_t i = 0; i < all->count; i++) {
		struct child *child = &all->items[i];
		if (!child->prepared)
			continue;
		child->prepared = false;
		child->asked = good;
		tell(child, good ? CHILD_PUBLISH : CHILD_DROP);
	}
	all->reload = good ? RELOAD_PUBLISHING : RELOAD_NONE;
	if (good)
		return;
	log_error(
	    "configuration %s not reloaded: the old one goes on",
	    all->params.config_path);
	service_notify(
	    "READY=1\nSTATUS=serving the old configuration: the new one is broken");
}

static void continue_reload(struct children *all)
{
	if (all->reload == RELOAD_PREPARING && !any_asked(all))
		settle_reload(all);
	if (all->reload == RELOAD_PUBLISHING && !any_asked(all)) {
		all->reload = RELOAD_NONE;
		log_info("configuration %s reloaded", all->params.config_path);
		service_notify("READY=1\nSTATUS=serving");
	}
}

static void hear(struct children *all, struct child *child)
{
	char byte;
	while (child->status >= 0 && read(child->status, &byte, 1) == 1) {
		switch ((enum child_status)byte) {
		case CHILD_READY:
			if (child->was_ready)
				log_info("child %zu serves again", child->number);
			child->ready = child->was_ready = true;
			announce(all);
			break;
		case CHILD_PREPARED:
			child->prepared = child->asked;
			child->asked = false;
			break;
		case CHILD_BROKEN:
		case CHILD_PUBLISHED:
			child->asked = false;
			break;
		}
	}
}

/* ---- for the parent's loop ---- */

void children_reload(struct children *all)
{
	all->reload_wanted = true;
	for (size_t i = 0; i < all->count; i++)
		all->items[i].start_at_ms = 0;
}

int children_wait_ms(const struct children *all)
{
	int64_t next = all->stopping ? all->kill_at_ms : INT64_MAX;
	for (size_t i = 0; i < all->count && !all->stopping; i++) {
		const struct child *child = &all->items[i];
		if (child->pid == 0 && child->start_at_ms < next)
			next = child->start_at_ms;
	}
	if (next == INT64_MAX)
		return -1;
	int64_t wait = next - now_ms();
	return wait < 0 ? 0 : (int)wait;
}

static void kill_late(struct children *all)
{
	if (!all->stopping || now_ms() < all->kill_at_ms)
		return;
	for (size_t i = 0; i < all->count; i++) {
		if (all->items[i].pid != 0)
			kill(all->items[i].pid, SIGKILL);
	}
	all->kill_at_ms = now_ms() + STOP_MAX_MS;
}

size_t children_count(const struct children *all)
{
	return all->count;
}

bool children_done(const struct children *all)
{
	return all->stopping && !any_running(all);
}

int children_exit_code(const struct children *all)
{
	return all->exit_code;
}

void children_fill_poll(const struct children *all, struct pollfd *fds)
{
	for (size_t i = 0; i < all->count; i++)
		fds[i] = (struct pollfd){.fd = all->items[i].status, .events = POLLIN};
}

void children_hear(struct children *all, const struct pollfd *fds)
{
	for (size_t i = 0; i < all->count; i++) {
		if (fds[i].revents & POLLIN)
			hear(all, &all->items[i]);
		else if (fds[i].revents) /* its end; CHLD follows */
			close_fd(&all->items[i].status);
	}
}

void children_work(struct children *all)
{
	continue_reload(all);
	begin_reload(all);
	kill_late(all);
}
