/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/dns.h"

#include "common/cleanup.h"

#include <ares.h>
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* As glibc's MAXNS: more servers would only prolong the wait. */
#define SERVERS_MAX 3
/* Real chains are of two or three links; resolvers themselves stop at 8 to 16. */
#define CHAIN_MAX 16
/* What passes every path unfragmented (DNS flag day 2020). */
#define EDNS_BYTES 1232

#define HEADER_BYTES   12
#define TYPE_CNAME     5
#define CLASS_IN       1
#define RCODE_NO_ERROR 0
#define RCODE_NXDOMAIN 3

/* A name as text: c-ares writes odd bytes as four characters. */
#define NAME_ROOM 1024

struct dns {
	ares_channel channel;
	size_t open;
};

/* One question under way. */
struct question {
	struct dns *dns;
	dns_answered *answered;
	void *context;
	enum dns_type type;
	char name[256];
};

DEFINE_CLEANUP(struct dns_answer, dns_answer_free)
DEFINE_CLEANUP(struct dns, dns_free)

/* ---- reading a message ---- */

/* One resource record of the answer section; @owner is to be freed. */
struct record {
	char *owner;
	unsigned type, class;
	uint32_t ttl_s;
	const unsigned char *data;
	size_t len;
};

struct message {
	const unsigned char *data;
	size_t len;
	struct record *records;
	size_t count;
};

static unsigned get16(const unsigned char *data)
{
	return (unsigned)data[0] << 8 | data[1];
}

/* Reads the name at @at, which lies in the message. Returns NULL: malformed, or no
 * memory. */
static char *read_name(
    const struct message *message, const unsigned char *at, size_t *ret_len)
{
	char *name;
	long len;
	if (ares_expand_name(at, message->data, (int)message->len, &name, &len) !=
	    ARES_SUCCESS)
		return NULL;
	*ret_len = (size_t)len;
	return name;
}

static void message_done(struct message *message)
{
	for (size_t i = 0; i < message->count; i++)
		ares_free_string(message->records[i].owner);
	free(message->records);
}

/* Returns how many bytes the record at @at takes, 0: malformed. */
static size_t read_record(
    const struct message *message, const unsigned char *at, struct record *ret)
{
	const unsigned char *end = message->data + message->len;
	size_t name_len;
	if (at >= end)
		return 0;
	ret->owner = read_name(message, at, &name_len);
	if (!ret->owner)
		return 0;
	const unsigned char *fixed = at + name_len;
	if ((size_t)(end - fixed) < 10 || (size_t)(end - fixed) - 10 < get16(fixed + 8)) {
		ares_free_string(ret->owner);
		return 0;
	}
	ret->type = get16(fixed);
	ret->class = get16(fixed + 2);
	uint32_t ttl_s = (uint32_t)get16(fixed + 4) << 16 | get16(fixed + 6);
	ret->ttl_s = ttl_s > INT32_MAX ? 0 : ttl_s; /* RFC 2181, 8 */
	ret->len = get16(fixed + 8);
	ret->data = fixed + 10;
	return name_len + 10 + ret->len;
}

/* Reads the answer section into @message. False: malformed, or no memory. */
static bool read_answers(struct message *message)
{
	unsigned questions = get16(message->data + 4), answers = get16(message->data + 6);
	const unsigned char *at = message->data + HEADER_BYTES;
	const unsigned char *end = message->data + message->len;

	for (unsigned i = 0; i < questions; i++) {
		size_t name_len;
		char *name = at < end ? read_name(message, at, &name_len) : NULL;
		if (!name)
			return false;
		ares_free_string(name);
		if ((size_t)(end - at) < name_len + 4)
			return false;
		at += name_len + 4;
	}
	message->records = calloc(answers + 1, sizeof(*message->records));
	if (!message->records)
		return false;
	for (unsigned i = 0; i < answers; i++) {
		size_t len = read_record(message, at, &message->records[message->count]);
		if (!len)
			return false;
		message->count++;
		at += len;
	}
	return true;
}

static const struct record *find_cname(const struct message *message, const char *owner)
{
	for (size_t i = 0; i < message->count; i++)
		if (message->records[i].type == TYPE_CNAME &&
		    message->records[i].class == CLASS_IN &&
		    strcasecmp(message->records[i].owner, owner) == 0)
			return &message->records[i];
	return NULL;
}

/*
 * Replaces @name (NAME_ROOM bytes) by the end of its CNAME chain, and lowers *ttl_s.
 * False: the chain does not end, or is malformed.
 */
static bool follow_chain(const struct message *message, char *name, uint32_t *ttl_s)
{
	const struct record *link;

	for (unsigned links = 0; (link = find_cname(message, name)) != NULL; links++) {
		size_t len;
		char *target = links < CHAIN_MAX && link->len > 0
				   ? read_name(message, link->data, &len)
				   : NULL;
		if (!target || len > link->len || strlen(target) >= NAME_ROOM) {
			ares_free_string(target);
			return false;
		}
		strcpy(name, target);
		ares_free_string(target);
		if (link->ttl_s < *ttl_s)
			*ttl_s = link->ttl_s;
	}
	return true;
}

static void read_address(const struct record *record, struct dns_record *ret)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	bool v4 = record->len == 4 || memcmp(record->data, mapped, sizeof(mapped)) == 0;

	ret->ip.family = v4 ? IP_V4 : IP_V6;
	if (v4)
		memcpy(ret->ip.bytes, record->data + record->len - 4, 4);
	else
		memcpy(ret->ip.bytes, record->data, 16);
}

/* The character-strings of a TXT record, joined. False: malformed, or no memory. */
static bool read_strings(const struct record *record, struct dns_record *ret)
{
	ret->text = malloc(record->len + 1);
	if (!ret->text)
		return false;
	for (size_t at = 0; at < record->len;) {
		size_t n = record->data[at];
		if (record->len - at - 1 < n)
			return false;
		memcpy(ret->text + ret->len, record->data + at + 1, n);
		ret->len += n;
		at += n + 1;
	}
	ret->text[ret->len] = '\0';
	return true;
}

static bool read_exchange(
    const struct message *message, const struct record *record, struct dns_record *ret)
{
	size_t len = 0;
	char *name = record->len > 2 ? read_name(message, record->data + 2, &len) : NULL;

	if (name && len == record->len - 2)
		ret->text = strdup(name);
	ares_free_string(name);
	if (!ret->text)
		return false;
	ret->preference = (uint16_t)get16(record->data);
	ret->len = strlen(ret->text);
	for (size_t i = 0; i < ret->len; i++)
		if (ret->text[i] >= 'A' && ret->text[i] <= 'Z')
			ret->text[i] = (char)(ret->text[i] - 'A' + 'a');
	return true;
}

static bool read_data(
    const struct message *message, const struct record *record, enum dns_type type,
    struct dns_record *ret)
{
	switch (type) {
	case DNS_A:
	case DNS_AAAA:
		if (record->len != (type == DNS_A ? 4 : 16))
			return false;
		read_address(record, ret);
		return true;
	case DNS_MX:
		return read_exchange(message, record, ret);
	case DNS_TXT:
		return read_strings(record, ret);
	}
	return false;
}

/* Takes the records of @type at the chain's end over into @answer. Returns NULL or what
 * is wrong. */
static const char *read_records(
    const struct message *message, const char *name, enum dns_type type,
    struct dns_answer *answer)
{
	char owner[NAME_ROOM];
	uint32_t ttl_s = INT32_MAX;

	snprintf(owner, sizeof(owner), "%s", name);
	if (!follow_chain(message, owner, &ttl_s))
		return "a CNAME chain that does not end";
	answer->records = calloc(message->count + 1, sizeof(*answer->records));
	if (!answer->records)
		return "out of memory";
	for (size_t i = 0; i < message->count; i++) {
		const struct record *record = &message->records[i];
		if (record->type != (unsigned)type || record->class != CLASS_IN ||
		    strcasecmp(record->owner, owner) != 0)
			continue;
		/* Counted before it is judged, so that a half-read text is freed. */
		if (!read_data(message, record, type, &answer->records[answer->count++]))
			return "a malformed answer";
		if (record->ttl_s < ttl_s)
			ttl_s = record->ttl_s;
	}
	answer->status = answer->count ? DNS_FOUND : DNS_NO_DATA;
	answer->ttl_s = answer->count ? ttl_s : 0;
	return NULL;
}

static struct dns_answer *answer_new(enum dns_status status, const char *error)
{
	struct dns_answer *answer = calloc(1, sizeof(*answer));

	if (answer) {
		answer->status = status;
		answer->error = error;
	}
	return answer;
}

struct dns_answer *dns_answer_free(struct dns_answer *answer)
{
	if (!answer)
		return NULL;
	for (size_t i = 0; i < answer->count; i++)
		free(answer->records[i].text);
	free(answer->records);
	free(answer);
	return NULL;
}

struct dns_answer *dns_answer_parse(
    const unsigned char *data, size_t len, const char *name, enum dns_type type)
{
	struct message message = {.data = data, .len = len};

	if (len < HEADER_BYTES || len > UINT16_MAX)
		return answer_new(DNS_FAILED, "a malformed answer");
	unsigned rcode = data[3] & 0xf;
	if (rcode == RCODE_NXDOMAIN)
		return answer_new(DNS_NO_NAME, NULL);
	if (rcode != RCODE_NO_ERROR)
		return answer_new(DNS_FAILED, "the server's answer is an error");

	struct dns_answer *answer = answer_new(DNS_FAILED, "a malformed answer");
	if (answer && read_answers(&message)) {
		const char *error = read_records(&message, name, type, answer);
		if (error)
			answer->status = DNS_FAILED;
		answer->error = error;
	}
	message_done(&message);
	return answer;
}

/* ---- asking ---- */

/* What c-ares itself made of it, when there is no message to read. */
static struct dns_answer *answer_of_status(int status)
{
	switch (status) {
	case ARES_ENOTFOUND:
		return answer_new(DNS_NO_NAME, NULL);
	case ARES_ENODATA:
		return answer_new(DNS_NO_DATA, NULL);
	case ARES_ETIMEOUT:
		return answer_new(DNS_FAILED, "no answer in time");
	case ARES_ECONNREFUSED:
		/* It says so too when the last server's answer was an error. */
		return answer_new(
		    DNS_FAILED, "no server can be reached, or SERVFAIL or REFUSED");
	case ARES_ESERVFAIL:
		return answer_new(DNS_FAILED, "SERVFAIL");
	case ARES_EREFUSED:
		return answer_new(DNS_FAILED, "REFUSED");
	case ARES_EDESTRUCTION:
	case ARES_ECANCELLED:
		return answer_new(DNS_FAILED, "given up");
	default: /* c-ares has some more, all of them failures */
		return answer_new(DNS_FAILED, ares_strerror(status));
	}
}

static void on_answer(
    void *arg, int status, int timeouts, unsigned char *data, int data_len)
{
	struct question *question = arg;
	(void)timeouts;

	question->dns->open--;
	question->answered(
	    question->context,
	    status == ARES_SUCCESS && data
		? dns_answer_parse(data, (size_t)data_len, question->name, question->type)
		: answer_of_status(status));
	free(question);
}

static bool is_host_name(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
	size_t len = strlen(name);
	return len > 0 && len < 256 && strspn(name, letters) == len;
}

void dns_ask(
    struct dns *dns, const char *name, enum dns_type type, dns_answered *answered,
    void *context)
{
	if (!is_host_name(name)) {
		answered(context, answer_new(DNS_NO_NAME, NULL));
		return;
	}
	struct question *question = calloc(1, sizeof(*question));
	if (!question) {
		answered(context, NULL);
		return;
	}
	question->dns = dns;
	question->answered = answered;
	question->context = context;
	question->type = type;
	snprintf(question->name, sizeof(question->name), "%s", name);
	dns->open++;
	ares_query(dns->channel, name, CLASS_IN, (int)type, on_answer, question);
}

size_t dns_open(const struct dns *dns)
{
	return dns->open;
}

/* The shorter of @timeout_ms (-1: for ever) and what c-ares wants to do next. */
static int wait_ms(struct dns *dns, int timeout_ms)
{
	struct timeval next;

	if (!ares_timeout(dns->channel, NULL, &next))
		return timeout_ms;
	/* Up, or the last millisecond would be spent in a busy loop. */
	long next_ms = next.tv_sec * 1000 + (next.tv_usec + 999) / 1000;
	if (timeout_ms >= 0 && timeout_ms < next_ms)
		return timeout_ms;
	return (int)next_ms;
}

void dns_wait(struct dns *dns, int wake_fd, int timeout_ms)
{
	ares_socket_t sockets[ARES_GETSOCK_MAXNUM];
	struct pollfd fds[ARES_GETSOCK_MAXNUM + 1];
	unsigned bits =
	    (unsigned)ares_getsock(dns->channel, sockets, ARES_GETSOCK_MAXNUM);
	nfds_t count = 0;

	for (unsigned i = 0; i < ARES_GETSOCK_MAXNUM; i++) {
		short events = 0;
		/* ARES_GETSOCK_WRITABLE() shifts into the sign. */
		if (bits >> i & 1)
			events |= POLLIN;
		if (bits >> (i + ARES_GETSOCK_MAXNUM) & 1)
			events |= POLLOUT;
		if (events)
			fds[count++] =
			    (struct pollfd){.fd = sockets[i], .events = events};
	}
	nfds_t asked = count;
	if (wake_fd >= 0)
		fds[count++] = (struct pollfd){.fd = wake_fd, .events = POLLIN};
	if (poll(fds, count, wait_ms(dns, timeout_ms)) < 0)
		return;
	for (nfds_t i = 0; i < asked; i++) {
		if (!fds[i].revents)
			continue;
		ares_process_fd(
		    dns->channel, fds[i].revents & ~POLLOUT ? fds[i].fd : ARES_SOCKET_BAD,
		    fds[i].revents & POLLOUT ? fds[i].fd : ARES_SOCKET_BAD);
	}
	/* Its clock, whether or not a socket had something. */
	ares_process_fd(dns->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

/* ---- beginning and end ---- */

static pthread_once_t library_once = PTHREAD_ONCE_INIT;
static int library_status;

static void library_init(void)
{
	library_status = ares_library_init(ARES_LIB_INIT_ALL);
}

/* The first SERVERS_MAX of @settings as one text. False: too long. */
static bool join_servers(const struct dns_settings *settings, char *buf, size_t size)
{
	size_t len = 0;

	for (size_t i = 0; i < settings->servers_count && i < SERVERS_MAX; i++) {
		int n = snprintf(
		    buf + len, size - len, "%s%s", i ? "," : "", settings->servers[i]);
		if (n < 0 || (size_t)n >= size - len)
			return false;
		len += (size_t)n;
	}
	return true;
}

static size_t count_servers(ares_channel channel)
{
	struct ares_addr_node *servers = NULL;
	size_t count = 0;

	if (ares_get_servers(channel, &servers) != ARES_SUCCESS)
		return 1;
	for (struct ares_addr_node *server = servers; server; server = server->next)
		count++;
	ares_free_data(servers);
	return count;
}

/* @tries is per server, and known only when the servers are. */
static int open_channel(const struct dns_settings *settings, int tries, ares_channel *ret)
{
	struct ares_options options = {
	    .flags = ARES_FLAG_EDNS | ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES,
	    .timeout = (int)settings->timeout_ms,
	    .tries = tries,
	    .ednspsz = EDNS_BYTES,
	};
	char servers[SERVERS_MAX * 80];

	if (ares_init_options(
		ret, &options,
		ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
		    ARES_OPT_EDNSPSZ) != ARES_SUCCESS)
		return -EINVAL;
	if (settings->servers_count &&
	    (!join_servers(settings, servers, sizeof(servers)) ||
	     ares_set_servers_ports_csv(*ret, servers) != ARES_SUCCESS)) {
		ares_destroy(*ret);
		*ret = NULL;
		return -EINVAL;
	}
	return 0;
}

struct dns *dns_free(struct dns *dns)
{
	if (!dns)
		return NULL;
	if (dns->channel)
		ares_destroy(dns->channel);
	assert(dns->open == 0);
	free(dns);
	return NULL;
}

int dns_new(const struct dns_settings *settings, struct dns **ret)
{
	CLEANUP(dns_freep) struct dns *dns = calloc(1, sizeof(*dns));

	if (!dns)
		return -ENOMEM;
	pthread_once(&library_once, library_init);
	if (library_status != ARES_SUCCESS)
		return -ENOMEM;
	int r = open_channel(settings, 1, &dns->channel);
	if (r == 0 && count_servers(dns->channel) < 2) {
		ares_destroy(dns->channel);
		dns->channel = NULL;
		r = open_channel(settings, 2, &dns->channel);
	}
	if (r < 0)
		return r;
	*ret = TAKE(dns);
	return 0;
}
