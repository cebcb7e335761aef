/* SPDX-License-Identifier: BSD-2-Clause */
#include "milter/control.h"

#include "common/cleanup.h"
#include "common/control.h"
#include "common/thread.h"
#include "milter/counts.h"

#include <errno.h>
#include <event2/event.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

struct control {
	struct generation_slot *slot;
	struct gate *gate;
	int64_t since_s;

	pthread_mutex_t lock; /* over the last reload */
	int64_t reloaded_s;
	char reload_why[CONTROL_ERROR_MAX]; /* "": it was taken */

	struct event_base *base;
	struct control_server *server;
	struct event *wake;
	int wake_fd;
	pthread_t thread;
	bool running;
};

DEFINE_CLEANUP(struct control, control_free)
DEFINE_CLEANUP(struct generation, generation_unref)

static json_t *last_reload(struct control *control)
{
	pthread_mutex_lock(&control->lock);
	bool taken = control->reload_why[0] == '\0';
	json_t *object =
	    json_pack("{s:I, s:b}", "time", (json_int_t)control->reloaded_s, "ok", taken);
	if (object && !taken)
		json_object_set_new(object, "error", json_string(control->reload_why));
	pthread_mutex_unlock(&control->lock);
	return object;
}

/* By the names of the metric's results. */
static json_t *messages(void)
{
	json_t *object = json_object();
	for (int i = 0; i < COUNTED_MESSAGES; i++) {
		enum counted_message what = (enum counted_message)i;
		json_object_set_new(
		    object, counts_message_name(what),
		    json_integer((json_int_t)counts_messages(what)));
	}
	return object;
}

static json_t *status(struct control *control)
{
	CLEANUP(generation_unrefp)
	struct generation *generation = generation_slot_get(control->slot);
	const struct config *config = generation->config;
	return json_pack(
	    "{s:s, s:s, s:i, s:I, s:s, s:s, s:i, s:o, s:o, s:I, s:o}", "program",
	    "postern-milter", "version", POSTERN_VERSION, "pid", (int)getpid(), "since",
	    (json_int_t)control->since_s, "hostname", config->hostname, "configuration",
	    config->file, "children", (int)config->milter.children, "last_reload",
	    last_reload(control), "messages", messages(), "received_masked",
	    (json_int_t)counts_received_masked(), "keys", gate_status(control->gate));
}

static void on_command(
    void *context, struct control_request *request, const char *name,
    const json_t *message)
{
	struct control *control = context;
	if (strcmp(name, "status") != 0) {
		control_refuse(
		    request, CONTROL_WRONG_USE,
		    "the milter takes no command \"%.32s\", only \"status\"", name);
		return;
	}
	if (control_members(request, message, NULL, 0))
		control_reply(request, status(control));
}

static void on_wake(evutil_socket_t fd, short what, void *context)
{
	(void)fd, (void)what;
	event_base_loopbreak(((struct control *)context)->base);
}

static void *serve(void *context)
{
	struct control *control = context;
	event_base_dispatch(control->base);
	return NULL;
}

void control_reloaded(struct control *control, const char *why)
{
	if (!control)
		return;
	pthread_mutex_lock(&control->lock);
	control->reloaded_s = (int64_t)time(NULL);
	snprintf(control->reload_why, sizeof(control->reload_why), "%s", why ? why : "");
	pthread_mutex_unlock(&control->lock);
}

struct control *control_free(struct control *control)
{
	uint64_t one = 1;
	if (!control)
		return NULL;
	if (control->running) {
		(void)!write(control->wake_fd, &one, sizeof(one));
		pthread_join(control->thread, NULL);
	}
	control_server_free(control->server);
	if (control->wake)
		event_free(control->wake);
	if (control->base)
		event_base_free(control->base);
	if (control->wake_fd >= 0)
		close(control->wake_fd);
	pthread_mutex_destroy(&control->lock);
	free(control);
	return NULL;
}

static int prepare(struct control *control, int fd)
{
	control->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (control->wake_fd < 0)
		return -errno;
	control->base = thread_loop_new();
	if (!control->base)
		return -ENOMEM;
	control->wake =
	    event_new(control->base, control->wake_fd, EV_READ, on_wake, control);
	if (!control->wake || event_add(control->wake, NULL) < 0)
		return -ENOMEM;
	return control_server_new(
	    control->base, fd, on_command, control, &control->server);
}

int control_new(
    int fd, struct generation_slot *slot, struct gate *gate, struct control **ret)
{
	CLEANUP(control_freep) struct control *control = calloc(1, sizeof(*control));
	if (!control)
		return -ENOMEM;
	pthread_mutex_init(&control->lock, NULL);
	control->wake_fd = -1;
	control->slot = slot;
	control->gate = gate;
	control->since_s = control->reloaded_s = (int64_t)time(NULL);
	int r = prepare(control, fd);
	if (r == 0)
		r = thread_start(&control->thread, "control", serve, control);
	if (r < 0)
		return r;
	control->running = true;
	*ret = TAKE(control);
	return 0;
}
