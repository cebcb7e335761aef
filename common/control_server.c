/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/control.h"

#include "common/cleanup.h"
#include "common/printable.h"

#include <errno.h>
#include <event2/event.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

/* After a failed accept: the listener would be readable all the time. */
#define ACCEPT_PAUSE_MS 100

#define READ_BYTES 4096 /* what most requests need */

/*
 * A client sends a request, is served, and is written to, in turn: while its reply is
 * owed or not yet out nothing more is read from it.
 */
struct client {
	TAILQ_ENTRY(client) order;
	struct control_server *server;
	int fd;
	struct event *readable, *writable, *deadline;
	struct control_request *owed; /* a reply to this; NULL: none */
	bool in_handler;              /* which may answer before it returns */
	bool last;                    /* closed once the reply is out */
	char *in;
	size_t in_len, in_size;
	char *out; /* NULL: nothing to write */
	size_t out_len, out_pos;
};

TAILQ_HEAD(clients, client);

struct control_server {
	struct event_base *base;
	struct event *listener, *pause;
	control_handler *handler;
	void *context;
	struct clients clients; /* the one that has waited longest for its turn first */
	size_t count;
	bool full; /* all are being served: nobody is accepted */
};

/* Outlives its client: whoever serves it does not learn that the client has left. */
struct control_request {
	struct client *client; /* NULL: has left */
	char peer[24];
};

DEFINE_CLEANUP(struct control_server, control_server_free)

static void client_close(struct client *client)
{
	struct control_server *server = client->server;

	TAILQ_REMOVE(&server->clients, client, order);
	server->count--;
	if (client->owed)
		client->owed->client = NULL;
	if (client->readable)
		event_free(client->readable);
	if (client->writable)
		event_free(client->writable);
	if (client->deadline)
		event_free(client->deadline);
	close(client->fd);
	free(client->in);
	free(client->out);
	free(client);
	if (server->full) {
		server->full = false;
		event_add(server->listener, NULL);
	}
}

static void deadline_set(struct client *client)
{
	static const struct timeval deadline = {.tv_sec = CONTROL_SECONDS};

	event_add(client->deadline, &deadline);
}

/* ---- replies ---- */

/* What json_dump_callback() fills. */
struct text {
	char *data;
	size_t len, size;
};

static int text_add(const char *data, size_t len, void *context)
{
	struct text *text = context;

	if (len > CONTROL_REPLY_MAX - text->len)
		return -1;
	if (text->len + len > text->size) {
		size_t size = text->size ? text->size * 2 : 512;
		while (size < text->len + len)
			size *= 2;
		char *grown = realloc(text->data, size);
		if (!grown)
			return -1;
		text->data = grown;
		text->size = size;
	}
	memcpy(text->data + text->len, data, len);
	text->len += len;
	return 0;
}

/* One line, in pure ASCII. False: no memory, or more than CONTROL_REPLY_MAX. */
static bool compose(const json_t *reply, struct text *ret)
{
	struct text text = {0};

	if (reply &&
	    json_dump_callback(
		reply, text_add, &text, JSON_COMPACT | JSON_ENSURE_ASCII) == 0 &&
	    text_add("\n", 1, &text) == 0) {
		*ret = text;
		return true;
	}
	free(text.data);
	return false;
}

/* Writes what fits. False: the client is gone. */
static bool client_flush(struct client *client)
{
	while (client->out_pos < client->out_len) {
		ssize_t n = send(
		    client->fd, client->out + client->out_pos,
		    client->out_len - client->out_pos, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0)
			client->out_pos += (size_t)n;
		else if (n < 0 && errno == EAGAIN)
			break;
		else if (n >= 0 || errno != EINTR)
			return false;
	}
	if (client->out_pos < client->out_len) {
		event_add(client->writable, NULL);
		return true;
	}
	free(TAKE(client->out));
	client->out_len = client->out_pos = 0;
	/* Its turn is over: of those that may send, the last to go. */
	TAILQ_REMOVE(&client->server->clients, client, order);
	TAILQ_INSERT_TAIL(&client->server->clients, client, order);
	return !client->last;
}

/* ---- requests ---- */

static void serve(struct client *client, const char *line, size_t len)
{
	struct control_server *server = client->server;
	struct control_request *request = calloc(1, sizeof(*request));
	char error[CONTROL_ERROR_MAX];

	if (!request) {
		client->last = true; /* nothing can be said */
		return;
	}
	struct ucred peer = {.uid = (uid_t)-1};
	socklen_t size = sizeof(peer);
	if (getsockopt(client->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
	    peer.uid == 0)
		snprintf(request->peer, sizeof(request->peer), "root");
	else
		snprintf(request->peer, sizeof(request->peer), "uid %d", (int)peer.uid);
	request->client = client;
	client->owed = request;
	client->in_handler = true;
	json_t *message = control_parse(line, len, error, sizeof(error));
	const char *command = json_string_value(json_object_get(message, "command"));
	if (!message)
		control_refuse(request, CONTROL_WRONG_USE, "%s", error);
	else if (!command)
		control_refuse(
		    request, CONTROL_WRONG_USE, "\"command\" is missing, or no text");
	else
		server->handler(server->context, request, command, message);
	json_decref(message);
	client->in_handler = false;
}

/* A line that is too long is said, and ends the connection. */
static void refuse_length(struct client *client)
{
	static const char reply[] = "{\"ok\":false,\"kind\":\"usage\",\"error\":"
				    "\"a request is at most 65536 bytes long\"}\n";

	_Static_assert(CONTROL_REQUEST_MAX == 65536, "the text above says so");
	client->last = true;
	client->in_len = 0;
	client->out = strdup(reply);
	client->out_len = client->out ? sizeof(reply) - 1 : 0;
}

/* Serves one line that is complete. False: there is none. */
static bool client_take_line(struct client *client)
{
	char *end = client->in_len ? memchr(client->in, '\n', client->in_len) : NULL;

	if (!end)
		return false;
	event_del(client->deadline);
	size_t len = (size_t)(end - client->in);
	serve(client, client->in, len);
	client->in_len -= len + 1;
	memmove(client->in, end + 1, client->in_len);
	return true;
}

/* Goes on with @client as far as it can; may close it. */
static void client_advance(struct client *client)
{
	event_del(client->readable);
	event_del(client->writable);
	while (!client->owed) {
		if (client->out) {
			if (client->out_pos == 0)
				deadline_set(client);
			if (!client_flush(client)) {
				client_close(client);
				return;
			}
			if (client->out)
				return; /* the rest once it may be written */
			deadline_set(client);
		} else if (client->last) {
			client_close(client);
			return;
		} else if (!client_take_line(client)) {
			if (client->in_len <= CONTROL_REQUEST_MAX) {
				event_add(client->readable, NULL);
				return;
			}
			refuse_length(client);
		}
	}
}

void control_reply(struct control_request *request, json_t *reply)
{
	static const char no_memory[] =
	    "{\"ok\":false,\"kind\":\"failed\","
	    "\"error\":\"out of memory, or a reply of more than 64 MiB\"}\n";
	struct client *client = request->client;
	struct text text;

	free(request);
	if (!client) {
		json_decref(reply);
		return;
	}
	client->owed = NULL;
	if (reply && !json_object_get(reply, "ok") &&
	    json_object_set_new(reply, "ok", json_true()) < 0) {
		json_decref(reply);
		reply = NULL;
	}
	if (compose(reply, &text)) {
		client->out = text.data;
		client->out_len = text.len;
	} else {
		client->out = strdup(no_memory);
		client->out_len = client->out ? sizeof(no_memory) - 1 : 0;
		client->last = !client->out;
	}
	json_decref(reply);
	if (!client->in_handler)
		client_advance(client);
}

void control_refuse(
    struct control_request *request, enum control_refusal kind, const char *format, ...)
{
	static const char *const kinds[] = {
	    [CONTROL_WRONG_USE] = "usage",
	    [CONTROL_NO_SUCH] = "missing",
	    [CONTROL_FAILED] = "failed",
	};
	char text[CONTROL_ERROR_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	json_t *error = json_string(text);
	if (!error) { /* cut within a character, most likely */
		char clean[CONTROL_ERROR_MAX];
		printable(clean, sizeof(clean), text, strlen(text));
		error = json_string(clean);
	}
	control_reply(
	    request,
	    json_pack("{s:b, s:s, s:o}", "ok", 0, "kind", kinds[kind], "error", error));
}

const char *control_request_peer(const struct control_request *request)
{
	return request->peer;
}

/* ---- connections ---- */

static bool client_make_room(struct client *client)
{
	if (client->in_len < client->in_size)
		return true;
	size_t size = client->in_size ? client->in_size * 4 : READ_BYTES;
	if (size > CONTROL_REQUEST_MAX)
		size = CONTROL_REQUEST_MAX + 1; /* with the newline */
	char *grown = realloc(client->in, size);
	if (!grown)
		return false;
	client->in = grown;
	client->in_size = size;
	return true;
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
	(void)what;
	struct client *client = context;

	if (!client_make_room(client)) {
		client_close(client);
		return;
	}
	ssize_t n = recv(
	    fd, client->in + client->in_len, client->in_size - client->in_len,
	    MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		client_close(client);
		return;
	}
	client->in_len += (size_t)n;
	client_advance(client);
}

static void on_writable(evutil_socket_t fd, short what, void *context)
{
	(void)fd, (void)what;
	client_advance(context);
}

static void on_deadline(evutil_socket_t fd, short what, void *context)
{
	(void)fd, (void)what;
	client_close(context);
}

/* Of those who have not sent their request, the one that has waited longest. */
static struct client *longest_waiting(struct control_server *server)
{
	struct client *client;

	TAILQ_FOREACH(client, &server->clients, order)
	if (!client->owed && !client->out)
		return client;
	return NULL;
}

static void client_open(struct control_server *server, int fd)
{
	struct client *client = calloc(1, sizeof(*client));

	if (!client) {
		close(fd);
		return;
	}
	client->server = server;
	client->fd = fd;
	TAILQ_INSERT_TAIL(&server->clients, client, order);
	server->count++;
	client->readable =
	    event_new(server->base, fd, EV_READ | EV_PERSIST, on_readable, client);
	client->writable = event_new(server->base, fd, EV_WRITE, on_writable, client);
	client->deadline = event_new(server->base, -1, 0, on_deadline, client);
	if (!client->readable || !client->writable || !client->deadline ||
	    event_add(client->readable, NULL) < 0) {
		client_close(client);
		return;
	}
	deadline_set(client);
	on_readable(fd, EV_READ, client); /* mostly it has been sent already */
}

static bool make_place(struct control_server *server)
{
	if (server->count < CONTROL_CONNECTIONS)
		return true;
	struct client *longest = longest_waiting(server);
	if (longest) {
		client_close(longest);
		return true;
	}
	server->full = true;
	event_del(server->listener);
	return false;
}

/* One at a time: each has as many turns of the loop to send its request as there are
 * connections, before a new one costs it its place. */
static void on_accept(evutil_socket_t fd, short what, void *context)
{
	(void)what;
	struct control_server *server = context;

	if (!make_place(server))
		return;
	int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (client >= 0) {
		client_open(server, client);
		return;
	}
	if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
		static const struct timeval pause = {.tv_usec = ACCEPT_PAUSE_MS * 1000};
		event_del(server->listener);
		event_add(server->pause, &pause);
	}
}

static void on_pause(evutil_socket_t fd, short what, void *context)
{
	(void)fd, (void)what;
	struct control_server *server = context;

	if (!server->full)
		event_add(server->listener, NULL);
}

int control_server_new(
    struct event_base *base, int fd, control_handler *handler, void *context,
    struct control_server **ret)
{
	CLEANUP(control_server_freep)
	struct control_server *server = calloc(1, sizeof(*server));

	if (!server)
		return -ENOMEM;
	TAILQ_INIT(&server->clients);
	server->base = base;
	server->handler = handler;
	server->context = context;
	server->listener = event_new(base, fd, EV_READ | EV_PERSIST, on_accept, server);
	server->pause = event_new(base, -1, 0, on_pause, server);
	if (!server->listener || !server->pause || event_add(server->listener, NULL) < 0)
		return -ENOMEM;
	*ret = TAKE(server);
	return 0;
}

struct control_server *control_server_free(struct control_server *server)
{
	if (!server)
		return NULL;
	server->full = false; /* no client's end opens the listener again */
	while (!TAILQ_EMPTY(&server->clients))
		client_close(TAILQ_FIRST(&server->clients));
	if (server->listener)
		event_free(server->listener);
	if (server->pause)
		event_free(server->pause);
	free(server);
	return NULL;
}
