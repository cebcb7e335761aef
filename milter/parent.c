/* SPDX-License-Identifier: BSD-2-Clause */
#include "milter/parent.h"

#include "common/config.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/service.h"
#include "common/sockets.h"
#include "common/status.h"
#include "milter/child.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BACK_OFF_MIN_MS 100
#define BACK_OFF_MAX_MS 10000
#define STEADY_MS       60000
/* A child gives the messages under way 10 s. */
#define STOP_MAX_MS 15000

/* Our descriptors lie above those that a child gets by number. */
#define FD_FLOOR 10

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

struct parent {
	const char *config_path;
	bool to_syslog;
	int signals;
	int *sockets;
	size_t sockets_count;
	struct endpoint *endpoints; /* that we opened */
	size_t endpoints_count;
	struct endpoint page_endpoint;
	int page;    /* the listening socket of milter.status; -1: none */
	int metrics; /* the arena of all children; -1: none */
	struct child *children;
	size_t children_count;
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

/* Moves @fd out of the way of the numbers that children get. */
static int lift(int fd)
{
	int lifted = fcntl(fd, F_DUPFD_CLOEXEC, FD_FLOOR);
	close(fd);
	return lifted;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* ---- children ---- */

static int open_pipe(int fds[2])
{
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -1;
	fds[0] = lift(fds[0]);
	fds[1] = lift(fds[1]);
	return fds[0] < 0 || fds[1] < 0 ? -1 : 0;
}

static int spawn(
    const struct parent *parent, struct child *child, int command, int status)
{
	static const char exe[] = "/proc/self/exe";
	char name[] = "postern-milter", option[] = "--child", config_option[] = "-c";
	char syslog_option[] = "--syslog";
	char number[24];
	char *config = strdup(parent->config_path);
	snprintf(number, sizeof(number), "%zu", child->number);
	char *argv[] = {name,          option, number,
			config_option, config, parent->to_syslog ? syslog_option : NULL,
			NULL};

	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none;
	sigemptyset(&none);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, child->socket, CHILD_SOCKET);
	posix_spawn_file_actions_adddup2(&actions, command, CHILD_COMMAND);
	posix_spawn_file_actions_adddup2(&actions, status, CHILD_STATUS);
	if (parent->metrics >= 0)
		posix_spawn_file_actions_adddup2(
		    &actions, parent->metrics, CHILD_METRICS);
	if (parent->page >= 0)
		posix_spawn_file_actions_adddup2(&actions, parent->page, CHILD_PAGE);
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

static void start_child(struct parent *parent, struct child *child)
{
	int command[2] = {-1, -1}, status[2] = {-1, -1};
	child->started_ms = now_ms();
	child->ready = child->asked = child->prepared = false;
	int r = open_pipe(command) < 0 || open_pipe(status) < 0 ? errno : 0;
	if (r == 0)
		r = spawn(parent, child, command[0], status[1]);
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

static void start_due(struct parent *parent)
{
	int64_t now = now_ms();
	for (size_t i = 0; i < parent->children_count; i++) {
		struct child *child = &parent->children[i];
		if (child->pid == 0 && child->start_at_ms <= now)
			start_child(parent, child);
	}
}

static bool any_running(const struct parent *parent)
{
	for (size_t i = 0; i < parent->children_count; i++) {
		if (parent->children[i].pid != 0)
			return true;
	}
	return false;
}

static void stop_all(struct parent *parent, int exit_code)
{
	if (parent->stopping)
		return;
	parent->stopping = true;
	parent->exit_code = exit_code;
	parent->kill_at_ms = now_ms() + STOP_MAX_MS;
	service_notify("STOPPING=1");
	for (size_t i = 0; i < parent->children_count; i++)
		close_fd(&parent->children[i].command);
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

static void child_ended(struct parent *parent, struct child *child, int status)
{
	char how[128];
	child->pid = 0;
	close_fd(&child->command);
	close_fd(&child->status);
	child->ready = child->asked = child->prepared = false;
	if (parent->stopping)
		return;
	/* The children have said why, one line per error. */
	if (!child->was_ready && WIFEXITED(status) &&
	    WEXITSTATUS(status) == EXIT_CONFIG) {
		stop_all(parent, EXIT_CONFIG);
		return;
	}
	schedule(child);
	describe_end(status, how, sizeof(how));
	log_error(
	    "child %zu %s; connections wait, it is started again in %lld ms",
	    child->number, how, (long long)child->back_off_ms);
}

static void reap(struct parent *parent)
{
	for (size_t i = 0; i < parent->children_count; i++) {
		struct child *child = &parent->children[i];
		int status;
		if (child->pid != 0 &&
		    waitpid(child->pid, &status, WNOHANG) == child->pid)
			child_ended(parent, child, status);
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

static bool all_ready(const struct parent *parent)
{
	for (size_t i = 0; i < parent->children_count; i++) {
		if (!parent->children[i].ready)
			return false;
	}
	return true;
}

static void announce(struct parent *parent)
{
	if (parent->announced || !all_ready(parent))
		return;
	parent->announced = true;
	service_notify("READY=1\nSTATUS=serving");
	log_info("ready: %zu children", parent->children_count);
}

static void begin_reload(struct parent *parent)
{
	char state[96];
	if (!parent->reload_wanted || parent->reload != RELOAD_NONE || parent->stopping ||
	    !all_ready(parent))
		return;
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	snprintf(
	    state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%lld",
	    (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
	service_notify(state);
	parent->reload_wanted = false;
	parent->reload = RELOAD_PREPARING;
	for (size_t i = 0; i < parent->children_count; i++) {
		parent->children[i].asked = true;
		parent->children[i].prepared = false;
		tell(&parent->children[i], CHILD_PREPARE);
	}
}

static bool any_asked(const struct parent *parent)
{
	for (size_t i = 0; i < parent->children_count; i++) {
		if (parent->children[i].asked)
			return true;
	}
	return false;
}

/* All have answered PREPARE: PUBLISH or DROP. */
static void settle_reload(struct parent *parent)
{
	bool good = true;
	/* A child that was started meanwhile has read the new file by itself. */
	for (size_t i = 0; i < parent->children_count; i++)
		good =
		    good && (parent->children[i].prepared || !parent->children[i].ready);
	for (size_t i = 0; i < parent->children_count; i++) {
		struct child *child = &parent->children[i];
		if (!child->prepared)
			continue;
		child->prepared = false;
		child->asked = good;
		tell(child, good ? CHILD_PUBLISH : CHILD_DROP);
	}
	parent->reload = good ? RELOAD_PUBLISHING : RELOAD_NONE;
	if (good)
		return;
	log_error(
	    "configuration %s not reloaded: the old one goes on", parent->config_path);
	service_notify(
	    "READY=1\nSTATUS=serving the old configuration: the new one is broken");
}

static void continue_reload(struct parent *parent)
{
	if (parent->reload == RELOAD_PREPARING && !any_asked(parent))
		settle_reload(parent);
	if (parent->reload == RELOAD_PUBLISHING && !any_asked(parent)) {
		parent->reload = RELOAD_NONE;
		log_info("configuration %s reloaded", parent->config_path);
		service_notify("READY=1\nSTATUS=serving");
	}
}

static void hear(struct parent *parent, struct child *child)
{
	char byte;
	while (child->status >= 0 && read(child->status, &byte, 1) == 1) {
		switch ((enum child_status)byte) {
		case CHILD_READY:
			if (child->was_ready)
				log_info("child %zu serves again", child->number);
			child->ready = child->was_ready = true;
			announce(parent);
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

/* ---- the loop ---- */

/* A child that waits to be started again need not wait for a mended file. */
static void want_reload(struct parent *parent)
{
	parent->reload_wanted = true;
	for (size_t i = 0; i < parent->children_count; i++)
		parent->children[i].start_at_ms = 0;
}

static void take_signals(struct parent *parent)
{
	struct signalfd_siginfo info;
	while (read(parent->signals, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			reap(parent);
		else if (info.ssi_signo == SIGHUP)
			want_reload(parent);
		else
			stop_all(parent, 0);
	}
}

static int next_wait_ms(const struct parent *parent)
{
	int64_t next = parent->stopping ? parent->kill_at_ms : INT64_MAX;
	for (size_t i = 0; i < parent->children_count && !parent->stopping; i++) {
		const struct child *child = &parent->children[i];
		if (child->pid == 0 && child->start_at_ms < next)
			next = child->start_at_ms;
	}
	if (next == INT64_MAX)
		return -1;
	int64_t wait = next - now_ms();
	return wait < 0 ? 0 : (int)wait;
}

static void kill_late(struct parent *parent)
{
	if (!parent->stopping || now_ms() < parent->kill_at_ms)
		return;
	for (size_t i = 0; i < parent->children_count; i++) {
		if (parent->children[i].pid != 0)
			kill(parent->children[i].pid, SIGKILL);
	}
	parent->kill_at_ms = now_ms() + STOP_MAX_MS;
}

static int serve(struct parent *parent)
{
	struct pollfd *fds = calloc(parent->children_count + 1, sizeof(*fds));
	if (!fds) {
		log_error("not started: out of memory");
		return 1;
	}
	while (!parent->stopping || any_running(parent)) {
		if (!parent->stopping)
			start_due(parent);
		fds[0] = (struct pollfd){.fd = parent->signals, .events = POLLIN};
		for (size_t i = 0; i < parent->children_count; i++)
			fds[i + 1] = (struct pollfd){
			    .fd = parent->children[i].status, .events = POLLIN};
		poll(fds, parent->children_count + 1, next_wait_ms(parent));
		for (size_t i = 0; i < parent->children_count; i++) {
			if (fds[i + 1].revents & POLLIN)
				hear(parent, &parent->children[i]);
			else if (fds[i + 1].revents) /* its end; CHLD follows */
				close_fd(&parent->children[i].status);
		}
		take_signals(parent);
		continue_reload(parent);
		begin_reload(parent);
		kill_late(parent);
	}
	free(fds);
	return parent->exit_code;
}

/* ---- start ---- */

static int open_signals(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	signal(SIGPIPE, SIG_IGN);
	/* Before the first thread, so that all of them have it. */
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -1;
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -1 : lift(fd);
}

/*
 * Says what is wrong with the file, keys included, which this process does not read: by
 * becoming a child, which loads it whole, logs every error and leaves with EXIT_CONFIG.
 */
static int become_reporter(const struct parent *parent)
{
	char name[] = "postern-milter", option[] = "--child", number[] = "0";
	char config_option[] = "-c", syslog_option[] = "--syslog";
	char *config = strdup(parent->config_path);
	char *argv[] = {name,          option, number,
			config_option, config, parent->to_syslog ? syslog_option : NULL,
			NULL};
	log_stop();
	if (config)
		execv("/proc/self/exe", argv);
	log_error(
	    "not started: configuration %s is broken, and this program cannot be "
	    "started again to say how: %s",
	    parent->config_path, strerror(errno));
	free(config);
	return EXIT_CONFIG;
}

/* Answers are small and come one by one: Nagle would hold each for 40 ms. */
static void set_nodelay(int fd)
{
	int one = 1;
	/* Fails on a unix socket, which has no such delay. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static int take_activated(struct parent *parent, int first, int count)
{
	parent->sockets = calloc((size_t)count, sizeof(*parent->sockets));
	if (!parent->sockets)
		return -1;
	for (int i = 0; i < count; i++) {
		int fd = lift(first + i);
		if (fd < 0)
			return -1;
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
		set_nodelay(fd);
		parent->sockets[parent->sockets_count++] = fd;
	}
	return 0;
}

static int listen_all(struct parent *parent, const struct config *config)
{
	char err[512];
	size_t count = config->milter.listen_count;
	const char *group =
	    config->milter.socket_group[0] ? config->milter.socket_group : NULL;
	parent->sockets = calloc(count + 1, sizeof(*parent->sockets));
	parent->endpoints = calloc(count + 1, sizeof(*parent->endpoints));
	if (!parent->sockets || !parent->endpoints) {
		log_error("not started: out of memory");
		return -1;
	}
	for (size_t i = 0; i < count; i++) {
		const struct endpoint *endpoint = &config->milter.listen[i];
		int fd = endpoint_listen(
		    endpoint, config->milter.socket_mode, group, err, sizeof(err));
		if (fd < 0) {
			log_error("not started: %s", err);
			return -1;
		}
		parent->endpoints[parent->endpoints_count++] = *endpoint;
		parent->sockets[parent->sockets_count++] = lift(fd);
	}
	return 0;
}

static int open_sockets(struct parent *parent, const struct config *config)
{
	char err[512];
	int first, count = sockets_activated(&first, err, sizeof(err));
	if (count < 0) {
		log_error("not started: %s", err);
		return -1;
	}
	if (count > 0)
		return take_activated(parent, first, count);
	return listen_all(parent, config);
}

static int make_children(struct parent *parent, const struct config *config)
{
	size_t each = config->milter.children;
	parent->children_count = parent->sockets_count * each;
	parent->children = calloc(parent->children_count + 1, sizeof(*parent->children));
	if (!parent->children) {
		log_error("not started: out of memory");
		return -1;
	}
	for (size_t i = 0; i < parent->children_count; i++)
		parent->children[i] = (struct child){
		    .number = i,
		    .socket = parent->sockets[i / each],
		    .command = -1,
		    .status = -1,
		};
	return 0;
}

/* Mail does not depend on it. */
static void open_page(struct parent *parent, const struct config *config)
{
	char err[512];
	if (config->milter.status[0] == '\0')
		return;
	parent->metrics = metrics_arena_new();
	if (parent->metrics < 0)
		snprintf(err, sizeof(err), "no counters: %s", strerror(-parent->metrics));
	else
		parent->metrics = lift(parent->metrics);
	if (parent->metrics >= 0)
		parent->page = status_listen(
		    config->milter.status, &parent->page_endpoint, err, sizeof(err));
	if (parent->page >= 0)
		parent->page = lift(parent->page);
	else
		log_error(
		    "milter.status: %s; there is no status page, mail is served all the "
		    "same",
		    err);
}

/* 0, or the exit code after a line in the log. */
static int prepare(struct parent *parent)
{
	char err[512];
	int is_root = 0, code = 0;
	struct config_errors errors = {0};
	struct config *config = NULL;
	int r = config_load(parent->config_path, 0, &config, &errors);
	config_errors_done(&errors);
	if (r < 0)
		return become_reporter(parent);
	log_set_level(config->log.level);
	service_raise_descriptors();
	open_page(parent, config);
	if (open_sockets(parent, config) < 0 || make_children(parent, config) < 0) {
		code = 1;
	} else if (
	    service_drop_privileges(config->milter.user, &is_root, err, sizeof(err)) <
	    0) {
		log_error("not started: milter.user: %s", err);
		code = 1;
	} else if (is_root) {
		log_warning(
		    "running as root: name an account in milter.user, which the daemon "
		    "becomes once its sockets are open");
	}
	config_unref(config);
	return code;
}

int parent_main(const char *config_path, bool to_syslog)
{
	struct parent parent = {
	    .config_path = config_path,
	    .to_syslog = to_syslog,
	    .signals = -1,
	    .page = -1,
	    .metrics = -1,
	};
	parent.signals = open_signals();
	if (parent.signals < 0) {
		log_error("not started: no signals: %s", strerror(errno));
		return 1;
	}
	service_start_log("postern-milter", to_syslog);
	int code = prepare(&parent);
	if (code == 0)
		code = serve(&parent);
	for (size_t i = 0; i < parent.endpoints_count; i++)
		endpoint_unlink(&parent.endpoints[i]);
	for (size_t i = 0; i < parent.sockets_count; i++)
		close_fd(&parent.sockets[i]);
	if (parent.page >= 0)
		endpoint_unlink(&parent.page_endpoint);
	close_fd(&parent.page);
	close_fd(&parent.metrics);
	free(parent.sockets);
	free(parent.endpoints);
	free(parent.children);
	close_fd(&parent.signals);
	log_stop();
	return code;
}
