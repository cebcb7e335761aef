/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Loads a milter as Postfix does: protocol version 6, the events and macros that the
 * milter asked for, no reply awaited that it does not give. Closed loop: each connection
 * sends its next message as soon as the last one is answered. Prints one JSON line:
 * messages a second, percentiles in ms from MAIL (or from the connect when a message
 * opens a session) to the last answer, signatures, and who waited.
 *
 *	milter_load ADDRESS CONNECTIONS SECONDS BODY_BYTES [MESSAGES_PER_SESSION
 *[PAUSE_MS]]
 *
 * ADDRESS: a path, or HOST:PORT with numbers. MESSAGES_PER_SESSION: 1 by default; 0 keeps
 * one session for the whole run. PAUSE_MS: what a client leaves between two messages.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define WARM_UP_NS 250000000LL
#define SAMPLES    (4 * 1024 * 1024)
#define CHUNK      65535
#define STAGES     7

enum { /* events a milter may leave out, answers it may not give */
       NO_CONNECT = 1 << 0,
       NO_HELO = 1 << 1,
       NO_MAIL = 1 << 2,
       NO_RCPT = 1 << 3,
       NO_BODY = 1 << 4,
       NO_HEADERS = 1 << 5,
       NO_EOH = 1 << 6,
       NR_HEADER = 1 << 7,
       NO_DATA = 1 << 9,
       NR_CONNECT = 1 << 12,
       NR_HELO = 1 << 13,
       NR_MAIL = 1 << 14,
       NR_RCPT = 1 << 15,
       NR_DATA = 1 << 16,
       NR_EOH = 1 << 18,
       NR_BODY = 1 << 19,
       LEADING_SPACE = 1 << 20,
       OFFERED = 0x1fffff,
};

enum step {
	STEP_OPEN,
	STEP_CONNECT,
	STEP_HELO,
	STEP_MAIL,
	STEP_RCPT,
	STEP_DATA,
	STEP_HEADER,
	STEP_EOH,
	STEP_BODY,
	STEP_END,
};

/* By the milter's numbers for them: connect, helo, mail, rcpt, data, end, eoh. */
static const char stage_commands[STAGES + 1] = "CHMRTEN";

static const struct {
	char command;
	const char *name, *value;
} macros[] = {
    {'C', "j", "mx.example.com"},
    {'C', "{daemon_name}", "mx.example.com"},
    {'C', "v", "Postfix 3.7.11"},
    {'H', "{tls_version}", "TLSv1.3"},
    {'H', "{cipher}", "TLS_AES_256_GCM_SHA384"},
    {'H', "{cipher_bits}", "256"},
    {'M', "j", "mx.example.com"},
    {'M', "v", "Postfix 3.7.11"},
    {'M', "{daemon_port}", "587"},
    {'M', "{client_addr}", "10.1.2.3"},
    {'M', "{client_name}", "laptop.lan"},
    {'M', "{tls_version}", "TLSv1.3"},
    {'M', "{auth_type}", "PLAIN"},
    {'M', "{auth_authen}", "user@example.com"},
    {'M', "{mail_addr}", "sender@example.com"},
    {'M', "{mail_host}", "example.com"},
    {'M', "{mail_mailer}", "smtp"},
    {'R', "{rcpt_addr}", "rcpt@example.net"},
    {'R', "{rcpt_mailer}", "smtp"},
    {'T', "i", "4XyZ12345678"},
    {'N', "i", "4XyZ12345678"},
    {'E', "i", "4XyZ12345678"},
};

static const struct {
	const char *name, *value;
} headers[] = {
    {"Received", "from laptop.lan (unknown [10.1.2.3])\n\tby relay.example.com (Postfix) "
		 "with ESMTPSA id 4XyZ11111111\n\tfor <rcpt@example.net>; Mon,  6 Jan "
		 "2025 10:00:00 +0000 (UTC)"},
    {"Received", "from [192.168.7.9] (helo=phone)\n\tby laptop.lan with esmtp (Exim "
		 "4.96)\n\tid 1tUx00000-000000-2C;\n\tMon, 06 Jan 2025 09:59:58 +0000"},
    {"Date", "Mon, 6 Jan 2025 10:00:00 +0000"},
    {"From", "A Sender <sender@example.com>"},
    {"To", "A Recipient <rcpt@example.net>"},
    {"Subject", "Invoice for your order of last week, with thanks"},
    {"Message-ID", "<2654435761.7@example.com>"},
    {"MIME-Version", "1.0"},
    {"Content-Type", "text/plain; charset=utf-8; format=flowed"},
    {"Content-Transfer-Encoding", "7bit"},
    {"User-Agent", "Mozilla Thunderbird"},
    {"X-Originating-IP", "[10.1.2.3]"},
};
#define HEADERS (sizeof(headers) / sizeof(headers[0]))

struct connection {
	int fd;
	enum step step;
	uint32_t steps;      /* what the milter chose */
	bool listed[STAGES]; /* it wants these macros alone: */
	char wanted[STAGES][512];
	bool wants_out;
	unsigned in_session; /* messages */
	unsigned long done;  /* measured ones */
	int64_t began_ns, pause_until_ns;
	size_t header_at, body_at;
	char *out;
	size_t out_len, out_at, out_room;
	char *in;
	size_t in_len, in_room;
};

static struct sockaddr_storage address;
static socklen_t address_len;
static int epoll;
static char *body;
static size_t body_len;
static unsigned per_session = 1;
static int64_t pause_ns, from_ns, until_ns;
static uint32_t *samples_us;
static size_t samples;
static unsigned long errors, refused, signatures, sessions;

static int64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* ---- what is sent ---- */

static void packet(struct connection *c, char command, const char *data, size_t len)
{
	uint32_t size = htonl((uint32_t)len + 1);
	if (c->out_len + len + 5 > c->out_room) {
		c->out_room = (c->out_len + len + 5) * 2;
		c->out = realloc(c->out, c->out_room);
		if (!c->out)
			abort();
	}
	char *to = c->out + c->out_len;
	memcpy(to, &size, 4);
	to[4] = command;
	memcpy(to + 5, data, len);
	c->out_len += len + 5;
}

static bool is_wanted(const struct connection *c, char command, const char *name)
{
	int stage = (int)(strchr(stage_commands, command) - stage_commands);
	if (!c->listed[stage])
		return true;
	size_t len = strlen(name);
	for (const char *at = c->wanted[stage]; (at = strstr(at, name)); at += len) {
		if ((at == c->wanted[stage] || at[-1] == ' ') &&
		    (at[len] == ' ' || at[len] == '\0'))
			return true;
	}
	return false;
}

static void send_macros(struct connection *c, char command)
{
	char text[1024];
	size_t len = 1;
	text[0] = command;
	for (size_t i = 0; i < sizeof(macros) / sizeof(macros[0]); i++) {
		if (macros[i].command != command ||
		    !is_wanted(c, command, macros[i].name))
			continue;
		len += (size_t)snprintf(
			   text + len, sizeof(text) - len, "%s", macros[i].name) +
		       1;
		len += (size_t)snprintf(
			   text + len, sizeof(text) - len, "%s", macros[i].value) +
		       1;
	}
	if (len > 1)
		packet(c, 'D', text, len);
}

static void event(struct connection *c, char command, const char *data, size_t len)
{
	send_macros(c, command);
	packet(c, command, data, len);
}

static void send_header(struct connection *c, size_t i)
{
	char text[1024];
	size_t len = (size_t)snprintf(text, sizeof(text), "%s", headers[i].name) + 1;
	len += (size_t)snprintf(
		   text + len, sizeof(text) - len, "%s%s",
		   c->steps & LEADING_SPACE ? " " : "", headers[i].value) +
	       1;
	packet(c, 'L', text, len);
}

/* Up to the first one that is answered. */
static bool send_headers(struct connection *c)
{
	while (!(c->steps & NO_HEADERS) && c->header_at < HEADERS) {
		send_header(c, c->header_at++);
		if (!(c->steps & NR_HEADER))
			return true;
	}
	return false;
}

static bool send_body(struct connection *c)
{
	while (!(c->steps & NO_BODY) && c->body_at < body_len) {
		size_t len = body_len - c->body_at;
		len = len < CHUNK ? len : CHUNK;
		packet(c, 'B', body + c->body_at, len);
		c->body_at += len;
		if (!(c->steps & NR_BODY))
			return true;
	}
	return false;
}

#define WORDS(text) text, sizeof(text)

/* Queues the events of c->step; true when one of them is answered. */
static bool send_step(struct connection *c)
{
	uint32_t steps = c->steps;
	switch (c->step) {
	case STEP_OPEN:
		return true;
	case STEP_CONNECT:
		if (!(steps & NO_CONNECT))
			event(
			    c, 'C',
			    WORDS("laptop.lan\0004\xc3\x50"
				  "10.1.2.3"));
		return !(steps & (NO_CONNECT | NR_CONNECT));
	case STEP_HELO:
		if (!(steps & NO_HELO))
			event(c, 'H', WORDS("laptop.lan"));
		return !(steps & (NO_HELO | NR_HELO));
	case STEP_MAIL:
		if (!(steps & NO_MAIL))
			event(c, 'M', WORDS("<sender@example.com>\0SIZE=5000"));
		return !(steps & (NO_MAIL | NR_MAIL));
	case STEP_RCPT:
		if (!(steps & NO_RCPT))
			event(c, 'R', WORDS("<rcpt@example.net>"));
		return !(steps & (NO_RCPT | NR_RCPT));
	case STEP_DATA:
		if (!(steps & NO_DATA))
			event(c, 'T', "", 0);
		return !(steps & (NO_DATA | NR_DATA));
	case STEP_HEADER:
		return send_headers(c);
	case STEP_EOH:
		if (!(steps & NO_EOH))
			event(c, 'N', "", 0);
		return !(steps & (NO_EOH | NR_EOH));
	case STEP_BODY:
		return send_body(c);
	case STEP_END:
		event(c, 'E', "", 0);
		return true;
	}
	return true;
}

static int flush(struct connection *c)
{
	while (c->out_at < c->out_len) {
		ssize_t n =
		    send(c->fd, c->out + c->out_at, c->out_len - c->out_at, MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			return -1;
		c->out_at += (size_t)n;
	}
	bool wants_out = c->out_at < c->out_len;
	if (!wants_out)
		c->out_at = c->out_len = 0;
	if (wants_out != c->wants_out) {
		struct epoll_event event = {
		    .events = EPOLLIN | (wants_out ? EPOLLOUT : 0), .data.ptr = c};
		epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
		c->wants_out = wants_out;
	}
	return 0;
}

/* From c->step on, up to the next answer. */
static int go_on(struct connection *c)
{
	while (!send_step(c))
		c->step++;
	return flush(c);
}

/* ---- sessions ---- */

static int dial(struct connection *c)
{
	int one = 1;
	uint32_t open[3] = {htonl(6), htonl(0x1ff), htonl(OFFERED)};
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
	c->began_ns = now_ns();
	c->in_len = c->out_len = c->out_at = c->in_session = 0;
	c->wants_out = false;
	memset(c->listed, 0, sizeof(c->listed));
	/* A full backlog makes a unix socket wait here. */
	c->fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, address_len) < 0)
		return -1;
	if (address.ss_family == AF_INET)
		setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event) < 0)
		return -1;
	sessions++;
	c->step = STEP_OPEN;
	packet(c, 'O', (char *)open, sizeof(open));
	return flush(c);
}

static void hang_up(struct connection *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

static void redial(struct connection *c)
{
	hang_up(c);
	if (dial(c) < 0) {
		fprintf(stderr, "milter_load: cannot connect: %s\n", strerror(errno));
		exit(1);
	}
}

static int begin_message(struct connection *c)
{
	c->began_ns = now_ns();
	c->header_at = c->body_at = 0;
	c->step = STEP_MAIL;
	return go_on(c);
}

/* The message was answered for good, in mid-message or at its end. */
static int end_message(struct connection *c, char verdict)
{
	int64_t now = now_ns();
	if (c->began_ns >= from_ns && now < until_ns) {
		if (samples < SAMPLES)
			samples_us[samples++] = (uint32_t)((now - c->began_ns) / 1000);
		c->done++;
		refused += verdict != 'c' && verdict != 'a';
	}
	c->in_session++;
	if (per_session > 0 && c->in_session >= per_session) {
		packet(c, 'Q', "", 0);
		flush(c);
		redial(c);
		return 0;
	}
	if (c->step != STEP_END)
		packet(c, 'A', "", 0);
	if (pause_ns == 0)
		return begin_message(c);
	c->pause_until_ns = now + pause_ns;
	return flush(c);
}

/* ---- what comes back ---- */

static int take_options(struct connection *c, const char *data, size_t len)
{
	uint32_t word;
	if (c->step != STEP_OPEN || len < 12)
		return -1;
	memcpy(&word, data + 8, 4);
	c->steps = ntohl(word);
	for (size_t at = 12; at + 4 < len;) {
		memcpy(&word, data + at, 4);
		word = ntohl(word);
		at += 4;
		if (word >= STAGES)
			return -1;
		c->listed[word] = true;
		snprintf(
		    c->wanted[word], sizeof(c->wanted[word]), "%.*s", (int)(len - at),
		    data + at);
		at += strnlen(data + at, len - at) + 1;
	}
	c->header_at = c->body_at = 0;
	c->step = STEP_CONNECT;
	return go_on(c);
}

static int take_answer(struct connection *c, char answer, const char *data, size_t len)
{
	switch (answer) {
	case 'O':
		return take_options(c, data, len);
	case 'i':
	case 'h':
		signatures += c->began_ns >= from_ns &&
			      memmem(data, len, "DKIM-Signature", 14) != NULL;
		return 0;
	case 'm':
	case 'b':
	case 'p':
		return 0;
	case 's':
		c->body_at = body_len;
		c->step++;
		return go_on(c);
	case 'c':
		if (c->step == STEP_END)
			return end_message(c, answer);
		/* Headers and chunks are many. */
		if (c->step != STEP_HEADER && c->step != STEP_BODY)
			c->step++;
		return go_on(c);
	case 'a':
	case 'r':
	case 't':
	case 'd':
	case 'y':
		return end_message(c, answer);
	default:
		return -1;
	}
}

/* Every complete packet. */
static int take_packets(struct connection *c)
{
	size_t at = 0;
	unsigned long session = sessions;
	while (c->in_len - at >= 5) {
		uint32_t len;
		memcpy(&len, c->in + at, 4);
		len = ntohl(len);
		if (len < 1 || len > c->in_room - 4)
			return -1;
		if (c->in_len - at < 4 + (size_t)len)
			break;
		if (take_answer(c, c->in[at + 4], c->in + at + 5, len - 1) < 0)
			return -1;
		if (sessions != session) /* another connection, nothing read yet */
			return 0;
		at += 4 + (size_t)len;
	}
	memmove(c->in, c->in + at, c->in_len - at);
	c->in_len -= at;
	return 0;
}

static void serve(struct connection *c, uint32_t events)
{
	int r = events & EPOLLOUT ? flush(c) : 0;
	if (r == 0 && events & ~(uint32_t)EPOLLOUT) {
		ssize_t n =
		    recv(c->fd, c->in + c->in_len, c->in_room - c->in_len, MSG_DONTWAIT);
		if (n > 0) {
			c->in_len += (size_t)n;
			r = take_packets(c);
		} else if (n == 0 || errno != EAGAIN) {
			r = -1;
		}
	}
	if (r < 0) {
		errors++;
		redial(c);
	}
}

/* ---- the run ---- */

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

static double percentile_ms(double share)
{
	return samples ? samples_us[(size_t)((double)(samples - 1) * share)] / 1000.0 : 0;
}

static bool parse_address(const char *text)
{
	struct sockaddr_un *local = (struct sockaddr_un *)&address;
	struct sockaddr_in *inet = (struct sockaddr_in *)&address;
	char host[64];
	const char *colon = strrchr(text, ':');
	if (text[0] == '/') {
		local->sun_family = AF_UNIX;
		address_len = sizeof(*local);
		return (size_t)snprintf(
			   local->sun_path, sizeof(local->sun_path), "%s", text) <
		       sizeof(local->sun_path);
	}
	if (!colon)
		return false;
	snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
	inet->sin_family = AF_INET;
	inet->sin_port = htons((uint16_t)atoi(colon + 1));
	address_len = sizeof(*inet);
	return inet_pton(AF_INET, host, &inet->sin_addr) == 1;
}

/* Lines of text, with what a canonicaliser must change in each. */
static void make_body(size_t len)
{
	body = malloc(len + 128);
	body_len = len;
	if (!body)
		abort();
	for (size_t at = 0, line = 0; at < len; line++)
		at += (size_t)snprintf(
		    body + at, 128,
		    "%06zu The quick brown fox jumps over the lazy dog, and  again, "
		    "says line %06zu\r\n",
		    line, line);
	if (len >= 2)
		memcpy(body + len - 2, "\r\n", 2);
}

static void wake(struct connection *all, size_t count)
{
	int64_t now = now_ns();
	for (size_t i = 0; i < count; i++) {
		if (all[i].pause_until_ns == 0 || all[i].pause_until_ns > now)
			continue;
		all[i].pause_until_ns = 0;
		if (begin_message(&all[i]) < 0) {
			errors++;
			redial(&all[i]);
		}
	}
}

static void report(const struct connection *all, size_t count, double seconds)
{
	size_t starved = 0;
	int64_t oldest = 0, now = until_ns;
	for (size_t i = 0; i < count; i++) {
		starved += all[i].done == 0;
		if (all[i].pause_until_ns == 0 && now - all[i].began_ns > oldest)
			oldest = now - all[i].began_ns;
	}
	qsort(samples_us, samples, sizeof(*samples_us), compare);
	printf(
	    "{\"rate\": %.1f, \"messages\": %zu, \"p50\": %.3f, \"p99\": %.3f, "
	    "\"max\": %.3f, \"signatures\": %lu, \"refused\": %lu, \"errors\": %lu, "
	    "\"sessions\": %lu, \"starved\": %zu, \"oldest\": %.1f}\n",
	    (double)samples / seconds, samples, percentile_ms(0.5), percentile_ms(0.99),
	    percentile_ms(1), signatures, refused, errors, sessions, starved,
	    (double)oldest / 1e6);
}

int main(int argc, char **argv)
{
	struct epoll_event events[256];
	if (argc < 5 || !parse_address(argv[1]) || atoi(argv[2]) < 1 ||
	    atof(argv[3]) <= 0) {
		fprintf(
		    stderr, "usage: milter_load ADDRESS CONNECTIONS SECONDS BODY_BYTES "
			    "[MESSAGES_PER_SESSION [PAUSE_MS]]\n");
		return 64;
	}
	size_t count = (size_t)atoi(argv[2]);
	double seconds = atof(argv[3]);
	make_body((size_t)atol(argv[4]));
	if (argc > 5)
		per_session = (unsigned)atoi(argv[5]);
	if (argc > 6)
		pause_ns = atol(argv[6]) * 1000000LL;
	samples_us = malloc(SAMPLES * sizeof(*samples_us));
	struct connection *all = calloc(count, sizeof(*all));
	epoll = epoll_create1(0);
	if (!samples_us || !all || epoll < 0)
		return 1;
	from_ns = now_ns() + WARM_UP_NS;
	until_ns = from_ns + (int64_t)(seconds * 1e9);
	for (size_t i = 0; i < count; i++) {
		all[i].fd = -1;
		all[i].in_room = 128 * 1024;
		all[i].in = malloc(all[i].in_room);
		if (!all[i].in)
			return 1;
		redial(&all[i]);
	}
	while (now_ns() < until_ns) {
		int n = epoll_wait(epoll, events, 256, pause_ns > 0 ? 1 : 100);
		for (int i = 0; i < n; i++)
			serve(events[i].data.ptr, events[i].events);
		if (pause_ns > 0)
			wake(all, count);
	}
	report(all, count, seconds);
	return samples == 0;
}
