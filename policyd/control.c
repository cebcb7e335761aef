/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/control.h"

#include "common/cleanup.h"
#include "common/control.h"
#include "common/log.h"
#include "common/thread.h"
#include "policyd/control_commands.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define CONTROL_MODE 0600

static const struct command {
	const char *name;
	bool is_login; /* the login socket takes it */
	control_command *run;
} commands[] = {
    {"block", false, control_block},     {"blocks", false, control_blocks},
    {"explain", false, control_explain}, {"login", true, control_login},
    {"reset", false, control_reset},     {"status", false, control_status},
    {"unblock", false, control_unblock}, {"usage", false, control_usage},
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

struct control {
	struct control_context context;
	struct config_view view;
	struct control_server *server, *login_server;
	struct event *wake, *sample;
	int wake_fd;
	atomic_bool stopping;
	pthread_t thread;
	bool running;
};

static void control_take_config(struct control *control)
{
	const struct config *before = control->context.config;

	control->context.config =
	    reload_view(control->context.parts.reload, &control->view);
	if (control->context.config != before)
		store_redis_set(control->context.store, control->context.config);
	roster_set(control->context.roster, control->context.config);
}

static void dispatch(
    struct control *control, struct control_request *request, const char *name,
    const json_t *message, bool login_only)
{
	control_take_config(control);
	for (size_t i = 0; i < COMMANDS; i++) {
		if (strcmp(commands[i].name, name) != 0)
			continue;
		if (login_only && !commands[i].is_login)
			break;
		commands[i].run(&control->context, request, message);
		return;
	}
	control_refuse(
	    request, CONTROL_WRONG_USE, "this socket takes no command \"%.32s\"%s", name,
	    login_only ? ", only \"login\"" : "");
}

static void on_command(
    void *context, struct control_request *request, const char *name,
    const json_t *message)
{
	dispatch(context, request, name, message, false);
}

static void on_login(
    void *context, struct control_request *request, const char *name,
    const json_t *message)
{
	dispatch(context, request, name, message, true);
}

static void on_wake(evutil_socket_t fd, short what, void *context)
{
	(void)what;
	struct control *control = context;
	uint64_t count;

	(void)!read(fd, &count, sizeof(count));
	if (atomic_load(&control->stopping))
		event_base_loopbreak(control->context.base);
	else
		control_take_config(control);
}

static void on_sample(evutil_socket_t fd, short what, void *context)
{
	(void)fd, (void)what;
	struct control *control = context;

	control_rate_sample(&control->context.rate);
}

static void *serve(void *context)
{
	struct control *control = context;

	event_base_dispatch(control->context.base);
	return NULL;
}

static void control_wake(struct control *control)
{
	uint64_t one = 1;

	(void)!write(control->wake_fd, &one, sizeof(one));
}

void control_refresh(struct control *control)
{
	if (control)
		control_wake(control);
}

static void event_done(struct event *event)
{
	if (event)
		event_free(event);
}

struct control *control_free(struct control *control)
{
	if (!control)
		return NULL;
	if (control->running) {
		atomic_store(&control->stopping, true);
		control_wake(control);
		pthread_join(control->thread, NULL);
	}
	/* First who may still owe replies. */
	store_free(control->context.store);
	roster_free(control->context.roster);
	control_server_free(control->login_server);
	control_server_free(control->server);
	event_done(control->wake);
	event_done(control->sample);
	if (control->context.base)
		event_base_free(control->context.base);
	reload_view_done(control->context.parts.reload, &control->view);
	if (control->wake_fd >= 0)
		close(control->wake_fd);
	free(control);
	return NULL;
}

DEFINE_CLEANUP(struct control, control_free)

static int prepare(struct control *control, const struct control_sockets *sockets)
{
	static const struct timeval often = {.tv_sec = RATE_SECONDS_A};
	struct control_context *context = &control->context;

	control->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (control->wake_fd < 0)
		return -errno;
	context->base = thread_loop_new();
	if (!context->base)
		return -ENOMEM;
	control->wake = event_new(
	    context->base, control->wake_fd, EV_READ | EV_PERSIST, on_wake, control);
	control->sample = event_new(context->base, -1, EV_PERSIST, on_sample, control);
	if (!control->wake || !control->sample || event_add(control->wake, NULL) < 0 ||
	    event_add(control->sample, &often) < 0)
		return -ENOMEM;
	control_rate_sample(&context->rate);
	int r = store_redis_new(context->base, context->parts.memory, &context->store);
	if (r < 0)
		return r;
	r = roster_new(
	    context->base, context->parts.remembered.blocks,
	    context->parts.remembered.logins, &context->roster);
	if (r < 0)
		return r;
	control_take_config(control);
	if (sockets->control_fd >= 0)
		r = control_server_new(
		    context->base, sockets->control_fd, on_command, control,
		    &control->server);
	if (r == 0 && sockets->login_fd >= 0)
		r = control_server_new(
		    context->base, sockets->login_fd, on_login, control,
		    &control->login_server);
	return r;
}

int control_new(
    const struct control_sockets *sockets, const struct control_parts *parts,
    struct control **ret)
{
	CLEANUP(control_freep) struct control *control = calloc(1, sizeof(*control));

	if (!control)
		return -ENOMEM;
	control->wake_fd = -1;
	control->context.parts = *parts;
	control->context.since_s = time(NULL);
	int r = prepare(control, sockets);
	if (r == 0)
		r = thread_start(&control->thread, "control", serve, control);
	if (r < 0)
		return r;
	control->running = true;
	*ret = TAKE(control);
	return 0;
}

/* ---- the sockets ---- */

static int open_one(
    const char *key, const char *address, mode_t mode, const char *group,
    const struct config *config, struct endpoint *ret)
{
	char why[512];

	if (address[0] == '\0')
		return -1;
	int fd = control_listen(
	    address, mode, group, config->policyd.user, ret, why, sizeof(why));
	if (fd < 0)
		log_error(
		    "policyd.%s: %s; `postern` cannot ask this daemon there, policy "
		    "requests are served all the same",
		    key, why);
	return fd;
}

void control_sockets_open(const struct config *config, struct control_sockets *ret)
{
	ret->control_fd = open_one(
	    "control", config->policyd.control, CONTROL_MODE, "", config, &ret->control);
	ret->login_fd = open_one(
	    "login_socket", config->policyd.login_socket, config->policyd.login_mode,
	    config->policyd.login_group, config, &ret->login);
}

void control_sockets_close(struct control_sockets *sockets)
{
	if (sockets->control_fd >= 0) {
		endpoint_unlink(&sockets->control);
		close(sockets->control_fd);
	}
	if (sockets->login_fd >= 0) {
		endpoint_unlink(&sockets->login);
		close(sockets->login_fd);
	}
	sockets->control_fd = sockets->login_fd = -1;
}
