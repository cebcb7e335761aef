/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/server.h"

#include "common/log.h"
#include "common/service.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* Connections accepted in one go, so that signals are not kept waiting. */
#define ACCEPT_AT_ONCE 256

/* How long no connection is accepted after one could not be: a loop that tries at once
 * would burn a core for nothing. */
#define PAUSE_MS 100

/* Requests under way end by their own bound of 10 s; then nothing is waited for. */
#define DRAIN_S 11

#define REPORT_S 60

struct door {
	struct server *server;
	struct listener *listener;
	struct event *event;
};

struct server {
	const struct server_parts *parts;
	struct event_base *base;
	struct door *doors;
	bool paused, draining;
	int signal_fd;
	struct event *signals, *resume, *report, *done, *enough;
};

static void signal_set(sigset_t *ret)
{
	sigemptyset(ret);
	sigaddset(ret, SIGHUP);
	sigaddset(ret, SIGTERM);
	sigaddset(ret, SIGINT);
}

void server_block_signals(void)
{
	sigset_t set;
	signal_set(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	/* A file larger than the resource limit is an error to tell, not an end. */
	signal(SIGXFSZ, SIG_IGN);
}

static void doors_set(struct server *server, bool open)
{
	for (size_t i = 0; i < server->parts->listeners->count; i++) {
		if (open)
			event_add(server->doors[i].event, NULL);
		else
			event_del(server->doors[i].event);
	}
}

static void on_resume(evutil_socket_t fd, short what, void *context)
{
	(void)fd, (void)what;
	struct server *server = context;
	server->paused = false;
	if (!server->draining)
		doors_set(server, true);
}

static void pause_accepting(struct server *server, int error)
{
	const char *remedy = error == EMFILE   ? "raise LimitNOFILE= (ulimit -n)"
			     : error == ENFILE ? "raise the sysctl fs.file-max"
					       : "give the machine more memory";
	complain(
	    server->parts->complaints, COMPLAINT_DESCRIPTORS,
	    "cannot accept a connection: %s; trying again every %d ms; %s",
	    strerror(error), PAUSE_MS, remedy);
	server->paused = true;
	doors_set(server, false);
	event_add(server->resume, &(struct timeval){.tv_usec = PAUSE_MS * 1000});
}

static void admit(struct server *server, int fd, const char *listener, size_t max)
{
	if (workers_connections(server->parts->workers) < max) {
		workers_give(server->parts->workers, fd, listener);
		return;
	}
	close(fd);
	complain(
	    server->parts->complaints, COMPLAINT_FULL,
	    "%zu connections are open, which is the bound: one more on %s was closed; "
	    "Postfix will defer; raise policyd.max_connections, or lower Postfix's "
	    "process limit",
	    max, listener);
}

/* Returns how many were accepted. */
static int accept_some(struct server *server, const struct listener *listener)
{
	size_t max = atomic_load(server->parts->connections_max);
	int accepted = 0;
	while (accepted < ACCEPT_AT_ONCE) {
		int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			admit(server, fd, listener->name, max);
			accepted++;
			continue;
		}
		switch (errno) {
		case EMFILE:
		case ENFILE:
		case ENOBUFS:
		case ENOMEM:
			pause_accepting(server, errno);
			return accepted;
		case EINTR:
		case ECONNABORTED:
			continue;
		default:
			/* EAGAIN, or an error of the network that the client sees. */
			return accepted;
		}
	}
	return accepted;
}

static void on_connection(evutil_socket_t fd, short what, void *context)
{
	(void)fd, (void)what;
	struct door *door = context;
	accept_some(door->server, door->listener);
}

static void on_report(evutil_socket_t fd, short what, void *context)
{
	(void)fd, (void)what;
	struct server *server = context;
	complaints_report(server->parts->complaints);
}

static void on_done(evutil_socket_t fd, short what, void *context)
{
	(void)fd, (void)what;
	struct server *server = context;
	event_base_loopbreak(server->base);
}

static void on_enough(evutil_socket_t fd, short what, void *context)
{
	(void)fd, (void)what;
	struct server *server = context;
	log_warning(
	    "%zu connections did not come to an end in %d s and are closed",
	    workers_connections(server->parts->workers), DRAIN_S);
	event_base_loopbreak(server->base);
}

/* Whoever has connected to a socket of ours is still served; one that systemd keeps open
 * waits there for our successor. */
static void drain(struct server *server)
{
	server->draining = true;
	doors_set(server, false);
	struct listeners *listeners = server->parts->listeners;
	listeners_unlink(listeners);
	for (size_t i = 0; i < listeners->count; i++) {
		const struct listener *listener = &listeners->items[i];
		while (listener->endpoint && !server->paused &&
		       accept_some(server, listener) == ACCEPT_AT_ONCE)
			;
	}
	workers_drain(server->parts->workers);
	event_add(server->done, NULL);
	event_add(server->enough, &(struct timeval){.tv_sec = DRAIN_S});
}

static void on_end_signal(struct server *server, int number)
{
	const char *name = number == SIGTERM ? "SIGTERM" : "SIGINT";
	if (server->draining) {
		log_warning("%s again: leaving at once", name);
		event_base_loopbreak(server->base);
		return;
	}
	status_leaving(server->parts->status);
	log_info(
	    "%s: finishing what is under way (%zu connections), then leaving", name,
	    workers_connections(server->parts->workers));
	service_notify("STOPPING=1");
	drain(server);
}

static void on_signal(evutil_socket_t fd, short what, void *context)
{
	(void)what;
	struct server *server = context;
	struct signalfd_siginfo info;
	while (read(fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGHUP)
			reload_request(server->parts->reload);
		else
			on_end_signal(server, (int)info.ssi_signo);
	}
}

static bool add_doors(struct server *server)
{
	struct listeners *listeners = server->parts->listeners;
	server->doors = calloc(listeners->count, sizeof(*server->doors));
	if (!server->doors)
		return false;
	for (size_t i = 0; i < listeners->count; i++) {
		struct door *door = &server->doors[i];
		door->server = server;
		door->listener = &listeners->items[i];
		door->event = event_new(
		    server->base, door->listener->fd, EV_READ | EV_PERSIST, on_connection,
		    door);
		if (!door->event || event_add(door->event, NULL) < 0)
			return false;
	}
	return true;
}

static bool add_events(struct server *server)
{
	struct event_base *base = server->base;
	short often = EV_READ | EV_PERSIST;
	int done_fd = workers_done_fd(server->parts->workers);
	server->signals = event_new(base, server->signal_fd, often, on_signal, server);
	server->resume = event_new(base, -1, 0, on_resume, server);
	server->report = event_new(base, -1, EV_PERSIST, on_report, server);
	server->done = event_new(base, done_fd, EV_READ, on_done, server);
	server->enough = event_new(base, -1, 0, on_enough, server);
	return server->signals && server->resume && server->report && server->done &&
	       server->enough && event_add(server->signals, NULL) == 0 &&
	       event_add(server->report, &(struct timeval){.tv_sec = REPORT_S}) == 0;
}

static void event_done(struct event *event)
{
	if (event)
		event_free(event);
}

static void server_done(struct server *server)
{
	for (size_t i = 0; server->doors && i < server->parts->listeners->count; i++)
		event_done(server->doors[i].event);
	free(server->doors);
	event_done(server->signals);
	event_done(server->resume);
	event_done(server->report);
	event_done(server->done);
	event_done(server->enough);
	if (server->base)
		event_base_free(server->base);
	if (server->signal_fd >= 0)
		close(server->signal_fd);
}

int server_run(const struct server_parts *parts)
{
	struct server server = {.parts = parts};
	sigset_t set;
	signal_set(&set);
	server.signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	server.base = event_base_new();
	int r = -ENOMEM;
	if (server.signal_fd >= 0 && server.base && add_doors(&server) &&
	    add_events(&server)) {
		service_notify("READY=1\nSTATUS=serving");
		event_base_dispatch(server.base);
		r = 0;
	}
	server_done(&server);
	return r;
}
