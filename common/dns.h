/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/ip.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Questions to DNS servers, many at a time, for one thread that has nothing else to do:
 * the only door to c-ares.
 *
 * Answers are read from the whole message: the question's own CNAME chain is followed,
 * records of other owners are not looked at. TCP when an answer was cut short. A message
 * with another id, from another address or to another question is not noticed. No search
 * list, no hosts file, no cache. Without DNSSEC an answer is worth what the path to the
 * server is worth.
 *
 * Not thread-safe: one struct dns belongs to one thread.
 */

enum dns_type { DNS_A = 1, DNS_MX = 15, DNS_TXT = 16, DNS_AAAA = 28 };

enum dns_status {
	DNS_FOUND,
	DNS_NO_DATA, /* the name exists, without such a record */
	DNS_NO_NAME,
	DNS_FAILED, /* no usable answer: time-out, SERVFAIL, REFUSED, malformed */
};

struct dns_record {
	struct ip ip;        /* A, AAAA (IPv4-mapped: the IPv4 address) */
	uint16_t preference; /* MX */
	size_t len;
	char *text; /* MX: lower case, no final dot, "" for the root; TXT: all strings as
		       one, may hold any byte; NUL-terminated; NULL for addresses */
};

struct dns_answer {
	enum dns_status status;
	const char *error; /* DNS_FAILED: static text */
	uint32_t ttl_s;    /* the least of the chain and the records; DNS_FOUND only */
	size_t count;
	struct dns_record *records;
};

struct dns_settings {
	char *const *servers; /* "127.0.0.1", "127.0.0.1:5353", "[::1]:53" */
	size_t servers_count; /* 0: resolv.conf */
	/* How long one server has. A question is given up after three times that: two
	 * servers or more are asked once each, a single one twice, the second time
	 * waiting twice as long. */
	uint32_t timeout_ms;
};

struct dns;

/* Returns 0, -ENOMEM, or -EINVAL: a server that cannot be parsed, an unreadable
 * resolv.conf. */
int dns_new(const struct dns_settings *settings, struct dns **ret);

/* Every open question is answered with DNS_FAILED first. */
struct dns *dns_free(struct dns *dns);

/* Owns @answer; NULL when there was no memory for one. */
typedef void dns_answered(void *context, struct dns_answer *answer);

/*
 * Asks. @answered is called exactly once: within dns_wait() or dns_free(), or before this
 * returns when the question cannot be sent. A name of other bytes than letters, digits,
 * "-", "_" and "." is DNS_NO_NAME without asking.
 */
void dns_ask(
    struct dns *dns, const char *name, enum dns_type type, dns_answered *answered,
    void *context);

/* Questions without an answer. */
size_t dns_open(const struct dns *dns);

/*
 * Waits for answers, at most @timeout_ms (-1: for ever), or until @wake_fd (-1: none) can
 * be read, and calls back for those that came.
 */
void dns_wait(struct dns *dns, int wake_fd, int timeout_ms);

struct dns_answer *dns_answer_free(struct dns_answer *answer); /* NULL is fine */

/*
 * What the message @data says to the question @name, @type. Returns NULL without memory.
 * Pure: for dns.c itself, its tests and fuzzing.
 */
struct dns_answer *dns_answer_parse(
    const unsigned char *data, size_t len, const char *name, enum dns_type type);
