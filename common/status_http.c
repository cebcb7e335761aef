/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/status_http.h"

#include "common/cleanup.h"
#include "common/metrics.h"
#include "common/thread.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

/* After a failed accept: the listener would be readable all the time. */
#define ACCEPT_PAUSE_MS 100

struct client {
	TAILQ_ENTRY(client) order;
	struct status_http *http;
	int fd;
	struct event *readable, *writable, *deadline;
	bool answered; /* all of it; the client is to close now */
	size_t in_len;
	char *out;
	size_t out_len, out_pos;
	char in[STATUS_HTTP_REQUEST_BYTES];
};

TAILQ_HEAD(clients, client);

struct status_http {
	struct event_base *base;
	struct event *listener, *pause, *stop;
	int stop_pipe[2];
	const char *program;
	status_health_ask *ask;
	void *context;
	struct clients clients; /* the oldest first */
	size_t count;
	pthread_t thread;
	bool running;
};

/* What a request is answered with. */
struct page {
	const char *status, *type;
	char *body; /* malloc'd; NULL with body_len 0 */
	size_t body_len;
};

static void client_close(struct client *client)
{
	struct status_http *http = client->http;

	TAILQ_REMOVE(&http->clients, client, order);
	http->count--;
	if (client->readable)
		event_free(client->readable);
	if (client->writable)
		event_free(client->writable);
	if (client->deadline)
		event_free(client->deadline);
	close(client->fd);
	free(client->out);
	free(client);
}

static void text_page(struct page *page, const char *status, const char *text)
{
	page->status = status;
	page->type = "text/plain; charset=utf-8";
	if (asprintf(&page->body, "%s\n", text) < 0)
		page->body = NULL;
	page->body_len = page->body ? strlen(page->body) : 0;
}

static void health_page(struct status_http *http, struct page *page)
{
	struct status_health health = {0};

	http->ask(http->context, &health);
	char text[sizeof(health.trouble) + 16];
	snprintf(
	    text, sizeof(text), "%s%s%s", health.serving ? "ok" : "",
	    health.serving && health.trouble[0] ? "\n" : "", health.trouble);
	text_page(page, health.serving ? "200 OK" : "503 Service Unavailable", text);
}

static void metrics_page(struct page *page)
{
	if (metrics_print(&page->body, &page->body_len) < 0) {
		text_page(page, "503 Service Unavailable", "no memory");
		return;
	}
	page->status = "200 OK";
	page->type = "text/plain; version=0.0.4; charset=utf-8";
}

/* Trouble may name files and limits: text of the configuration, so escaped as well. */
static void put_html(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (strchr("<>&\"'", *text))
			fprintf(out, "&#%d;", *text);
		else
			putc(*text, out);
	}
}

static void status_page(struct status_http *http, struct page *page)
{
	struct status_health health = {0};
	char *table = NULL;
	size_t table_len;
	FILE *out = open_memstream(&page->body, &page->body_len);

	http->ask(http->context, &health);
	if (!out || metrics_print_html(&table, &table_len) < 0) {
		if (out)
			fclose(out);
		free(page->body);
		text_page(page, "503 Service Unavailable", "no memory");
		return;
	}
	const char *state = !health.serving     ? "not serving"
			    : health.trouble[0] ? "degraded"
						: "ok";
	fprintf(
	    out,
	    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
	    "<title>%s: %s</title>\n<style>body{font-family:sans-serif}"
	    "td{padding:0 1em 0 "
	    "0}td:last-child{text-align:right}</style></head>\n<body>\n"
	    "<h1>%s</h1>\n<p>Version %s: <strong>%s</strong></p>\n",
	    http->program, state, http->program, POSTERN_VERSION, state);
	if (health.trouble[0]) {
		fputs("<p>", out);
		put_html(out, health.trouble);
		fputs("</p>\n", out);
	}
	fprintf(
	    out,
	    "<table>\n%s</table>\n<p><a href=\"/metrics\">/metrics</a> "
	    "<a href=\"/healthz\">/healthz</a></p>\n</body></html>\n",
	    table);
	free(table);
	fclose(out);
	page->status = "200 OK";
	page->type = "text/html; charset=utf-8";
}

static bool path_is(const char *path, size_t len, const char *name)
{
	return len == strlen(name) && memcmp(path, name, len) == 0;
}

/* The path of "GET /path?query HTTP/1.1"; 0: no such line. */
static size_t request_path(const char *line, const char **ret, bool *ret_head)
{
	const char *path = NULL;

	*ret_head = strncmp(line, "HEAD ", 5) == 0;
	if (*ret_head)
		path = line + 5;
	else if (strncmp(line, "GET ", 4) == 0)
		path = line + 4;
	if (!path || path[0] != '/')
		return 0;
	size_t len = strcspn(path, " ?\r\n");
	size_t whole = strcspn(path, " \r\n");
	if (strncmp(path + whole, " HTTP/1.", 8) != 0)
		return 0;
	*ret = path;
	return len;
}

/* "POST / HTTP/1.1": known HTTP, another method. */
static bool is_http(const char *line)
{
	size_t len = strcspn(line, "\r\n");

	for (size_t i = 0; i + 8 < len; i++)
		if (strncmp(line + i, " HTTP/1.", 8) == 0)
			return true;
	return false;
}

static void find_page(
    struct status_http *http, const char *request, bool *ret_head, struct page *page)
{
	const char *path;
	size_t len = request_path(request, &path, ret_head);

	if (len == 0 && is_http(request))
		text_page(page, "405 Method Not Allowed", "GET or HEAD");
	else if (len == 0)
		text_page(page, "400 Bad Request", "this is a status page, over HTTP");
	else if (path_is(path, len, "/metrics"))
		metrics_page(page);
	else if (path_is(path, len, "/healthz"))
		health_page(http, page);
	else if (path_is(path, len, "/"))
		status_page(http, page);
	else
		text_page(page, "404 Not Found", "there are /, /metrics and /healthz");
}

/* False: no memory. */
static bool compose(struct client *client, const struct page *page, bool head)
{
	char top[512];
	int len = snprintf(
	    top, sizeof(top),
	    "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s"
	    "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
	    "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\n"
	    "Connection: close\r\n\r\n",
	    page->status, page->type, page->body_len,
	    strncmp(page->status, "405", 3) == 0 ? "Allow: GET, HEAD\r\n" : "");
	assert(len > 0 && (size_t)len < sizeof(top));
	size_t body_len = head ? 0 : page->body_len;
	client->out = malloc((size_t)len + body_len);
	if (!client->out)
		return false;
	memcpy(client->out, top, (size_t)len);
	if (body_len > 0)
		memcpy(client->out + len, page->body, body_len);
	client->out_len = (size_t)len + body_len;
	return true;
}

/* Writes what fits; ends the connection once all is out. */
static void client_write(struct client *client)
{
	while (client->out_pos < client->out_len) {
		ssize_t n = send(
		    client->fd, client->out + client->out_pos,
		    client->out_len - client->out_pos, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0) {
			client->out_pos += (size_t)n;
		} else if (n < 0 && errno == EAGAIN) {
			event_add(client->writable, NULL);
			return;
		} else if (n >= 0 || errno != EINTR) {
			client_close(client);
			return;
		}
	}
	/* A close with input unread would be a reset, and cost the client the answer: it
	 * closes first, or the deadline does. */
	event_del(client->writable);
	client->answered = true;
	shutdown(client->fd, SHUT_WR);
	event_add(client->readable, NULL);
}

static void on_writable(evutil_socket_t fd, short what, void *context)
{
	(void)fd, (void)what;
	client_write(context);
}

static void client_answer(struct client *client, bool too_large)
{
	struct page page = {0};
	bool head = false;

	event_del(client->readable);
	if (too_large)
		text_page(
		    &page, "431 Request Header Fields Too Large",
		    "at most 4096 bytes of request");
	else
		find_page(client->http, client->in, &head, &page);
	bool composed = compose(client, &page, head);
	free(page.body);
	if (composed)
		client_write(client);
	else
		client_close(client);
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
	(void)what;
	struct client *client = context;
	size_t kept = client->answered ? 0 : client->in_len;
	ssize_t n =
	    recv(fd, client->in + kept, sizeof(client->in) - 1 - kept, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		client_close(client);
		return;
	}
	if (client->answered)
		return;
	client->in_len += (size_t)n;
	client->in[client->in_len] = '\0';
	/* A NUL ends the text early: then no blank line is found, and the rest is not
	 * looked at. */
	if (strstr(client->in, "\r\n\r\n") || strstr(client->in, "\n\n"))
		client_answer(client, false);
	else if (client->in_len == sizeof(client->in) - 1)
		client_answer(client, true);
}

static void on_deadline(evutil_socket_t fd, short what, void *context)
{
	(void)fd, (void)what;
	client_close(context);
}

static void client_open(struct status_http *http, int fd)
{
	static const struct timeval deadline = {.tv_sec = STATUS_HTTP_SECONDS};
	struct client *client = calloc(1, sizeof(*client));

	if (!client) {
		close(fd);
		return;
	}
	if (http->count == STATUS_HTTP_CONNECTIONS)
		client_close(TAILQ_FIRST(&http->clients));
	client->http = http;
	client->fd = fd;
	TAILQ_INSERT_TAIL(&http->clients, client, order);
	http->count++;
	client->readable =
	    event_new(http->base, fd, EV_READ | EV_PERSIST, on_readable, client);
	client->writable =
	    event_new(http->base, fd, EV_WRITE | EV_PERSIST, on_writable, client);
	client->deadline = event_new(http->base, -1, 0, on_deadline, client);
	if (!client->readable || !client->writable || !client->deadline ||
	    event_add(client->readable, NULL) < 0 ||
	    event_add(client->deadline, &deadline) < 0)
		client_close(client);
	else
		on_readable(fd, EV_READ, client); /* mostly it has been sent already */
}

/* One at a time: each has as many turns of the loop to send its request as there are
 * connections, before a new one costs it its place. */
static void on_accept(evutil_socket_t fd, short what, void *context)
{
	(void)what;
	struct status_http *http = context;
	int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (client >= 0) {
		client_open(http, client);
		return;
	}
	if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
		static const struct timeval pause = {.tv_usec = ACCEPT_PAUSE_MS * 1000};
		event_del(http->listener);
		event_add(http->pause, &pause);
	}
}

static void on_pause(evutil_socket_t fd, short what, void *context)
{
	(void)fd, (void)what;
	struct status_http *http = context;

	event_add(http->listener, NULL);
}

static void on_stop(evutil_socket_t fd, short what, void *context)
{
	(void)fd, (void)what;
	struct status_http *http = context;

	event_base_loopbreak(http->base);
}

static void *serve(void *context)
{
	struct status_http *http = context;
	event_base_dispatch(http->base);
	return NULL;
}

struct status_http *status_http_free(struct status_http *http)
{
	if (!http)
		return NULL;
	if (http->running) {
		(void)!write(http->stop_pipe[1], "", 1);
		pthread_join(http->thread, NULL);
	}
	while (!TAILQ_EMPTY(&http->clients))
		client_close(TAILQ_FIRST(&http->clients));
	if (http->listener)
		event_free(http->listener);
	if (http->pause)
		event_free(http->pause);
	if (http->stop)
		event_free(http->stop);
	if (http->base)
		event_base_free(http->base);
	if (http->stop_pipe[0] >= 0) {
		close(http->stop_pipe[0]);
		close(http->stop_pipe[1]);
	}
	free(http);
	return NULL;
}

DEFINE_CLEANUP(struct status_http, status_http_free)

/* The pipe stops the loop. */
static int prepare(struct status_http *http, int fd)
{
	http->base = thread_loop_new();
	if (!http->base)
		return -ENOMEM;
	if (pipe2(http->stop_pipe, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	http->listener = event_new(http->base, fd, EV_READ | EV_PERSIST, on_accept, http);
	http->pause = event_new(http->base, -1, 0, on_pause, http);
	http->stop = event_new(http->base, http->stop_pipe[0], EV_READ, on_stop, http);
	if (!http->listener || !http->pause || !http->stop ||
	    event_add(http->listener, NULL) < 0 || event_add(http->stop, NULL) < 0)
		return -ENOMEM;
	return 0;
}

int status_http_new(
    int fd, const char *program, status_health_ask *ask, void *context,
    struct status_http **ret)
{
	CLEANUP(status_http_freep) struct status_http *http = calloc(1, sizeof(*http));

	if (!http)
		return -ENOMEM;
	TAILQ_INIT(&http->clients);
	http->stop_pipe[0] = http->stop_pipe[1] = -1;
	http->program = program;
	http->ask = ask;
	http->context = context;
	int r = prepare(http, fd);
	if (r == 0)
		r = thread_start(&http->thread, "status", serve, http);
	if (r < 0)
		return r;
	http->running = true;
	*ret = TAKE(http);
	return 0;
}
