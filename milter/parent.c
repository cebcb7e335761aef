/* SPDX-License-Identifier: BSD-2-Clause */
#include "milter/parent.h"

#include "common/config.h"
#include "common/control.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/service.h"
#include "common/sockets.h"
#include "common/status.h"
#include "milter/children.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define CONTROL_MODE 0600

struct parent {
	const char *config_path;
	bool to_syslog;
	int signals;
	int *sockets;
	size_t sockets_count;
	struct endpoint *endpoints; /* that we opened */
	size_t endpoints_count;
	struct endpoint page_endpoint;
	struct endpoint control_endpoint;
	int page;    /* the listening socket of milter.status; -1: none */
	int metrics; /* the arena of all children; -1: none */
	int control; /* the listening socket of milter.control; -1: none */
	struct children *children;
};

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void take_signals(struct parent *parent)
{
	struct signalfd_siginfo info;
	while (read(parent->signals, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			children_reap(parent->children);
		else if (info.ssi_signo == SIGHUP)
			children_reload(parent->children);
		else
			children_stop(parent->children, 0);
	}
}

static int serve(struct parent *parent)
{
	struct children *children = parent->children;
	size_t count = children_count(children);
	struct pollfd *fds = calloc(count + 1, sizeof(*fds));
	if (!fds) {
		log_error("not started: out of memory");
		return 1;
	}
	while (!children_done(children)) {
		children_start_due(children);
		fds[0] = (struct pollfd){.fd = parent->signals, .events = POLLIN};
		children_fill_poll(children, fds + 1);
		if (poll(fds, count + 1, children_wait_ms(children)) < 0)
			continue; /* nothing interrupts it: all signals are blocked */
		children_hear(children, fds + 1);
		take_signals(parent);
		children_work(children);
	}
	free(fds);
	return children_exit_code(children);
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
	return fd < 0 ? -1 : children_lift(fd);
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

static int keep_socket(struct parent *parent, int fd)
{
	int lifted = children_lift(fd);
	if (lifted < 0) {
		log_error("not started: no descriptor: %s", strerror(errno));
		return -1;
	}
	parent->sockets[parent->sockets_count++] = lifted;
	return 0;
}

static int take_activated(struct parent *parent, int first, int count)
{
	for (int fd = first; fd < first + count; fd++) {
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
		set_nodelay(fd);
		if (keep_socket(parent, fd) < 0)
			return -1;
	}
	return 0;
}

static int listen_all(struct parent *parent, const struct config *config)
{
	char err[512];
	const char *group =
	    config->milter.socket_group[0] ? config->milter.socket_group : NULL;
	for (size_t i = 0; i < config->milter.listen_count; i++) {
		const struct endpoint *endpoint = &config->milter.listen[i];
		int fd = endpoint_listen(
		    endpoint, config->milter.socket_mode, group, err, sizeof(err));
		if (fd < 0) {
			log_error("not started: %s", err);
			return -1;
		}
		parent->endpoints[parent->endpoints_count++] = *endpoint;
		if (keep_socket(parent, fd) < 0)
			return -1;
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
	size_t room = config->milter.listen_count + (size_t)count;
	parent->sockets = calloc(room + 1, sizeof(*parent->sockets));
	parent->endpoints = calloc(room + 1, sizeof(*parent->endpoints));
	if (!parent->sockets || !parent->endpoints) {
		log_error("not started: out of memory");
		return -1;
	}
	return count > 0 ? take_activated(parent, first, count)
			 : listen_all(parent, config);
}

static int make_children(struct parent *parent, const struct config *config)
{
	struct children_params params = {
	    .config_path = parent->config_path,
	    .to_syslog = parent->to_syslog,
	    .sockets = parent->sockets,
	    .sockets_count = parent->sockets_count,
	    .each = config->milter.children,
	    .page = parent->page,
	    .metrics = parent->metrics,
	    .control = parent->control,
	};
	if (children_new(&params, &parent->children) == 0)
		return 0;
	log_error("not started: out of memory");
	return -1;
}

/* For the page and for who asks over milter.control. */
static void open_metrics(struct parent *parent, const struct config *config)
{
	if (config->milter.status[0] == '\0' && config->milter.control[0] == '\0')
		return;
	parent->metrics = metrics_arena_new();
	if (parent->metrics < 0)
		log_error(
		    "no shared counters: %s; each child shows its own",
		    strerror(-parent->metrics));
	else
		parent->metrics = children_lift(parent->metrics);
}

/* Mail does not depend on it. */
static void open_page(struct parent *parent, const struct config *config)
{
	char err[512];
	if (config->milter.status[0] == '\0')
		return;
	parent->page = status_listen(
	    config->milter.status, &parent->page_endpoint, err, sizeof(err));
	if (parent->page >= 0)
		parent->page = children_lift(parent->page);
	else
		log_error(
		    "milter.status: %s; there is no status page, mail is served all the "
		    "same",
		    err);
}

/* Nor on this one. The account is not root's after all: what it is asked tells no secret,
 * and root may always ask. */
static void open_control(struct parent *parent, const struct config *config)
{
	char err[512];
	if (config->milter.control[0] == '\0')
		return;
	parent->control = control_listen(
	    config->milter.control, CONTROL_MODE, "", config->milter.user,
	    &parent->control_endpoint, err, sizeof(err));
	if (parent->control >= 0)
		parent->control = children_lift(parent->control);
	else
		log_error(
		    "milter.control: %s; \"postern status\" cannot ask this daemon, mail "
		    "is served all the same",
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
	open_metrics(parent, config);
	open_page(parent, config);
	open_control(parent, config);
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
	    .control = -1,
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
	if (parent.control >= 0)
		endpoint_unlink(&parent.control_endpoint);
	close_fd(&parent.control);
	close_fd(&parent.page);
	close_fd(&parent.metrics);
	free(parent.sockets);
	free(parent.endpoints);
	children_free(parent.children);
	close_fd(&parent.signals);
	log_stop();
	return code;
}
