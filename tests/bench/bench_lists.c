/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/lists.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/*
 * Memory, time to load and time to look up of big lists, each in a process of its own:
 *
 *     bench_lists [ENTRIES]
 *
 * Entries come as text, split line by line and added through the public doors, as from a
 * file: list. Resident memory is what the list added to the process; peak is the most it
 * was while building. Times are of the processor, so that a busy machine disturbs less.
 * The addresses looked up are canonical already; what bringing them there costs is a line
 * of its own.
 */

#define LOOKUPS 2048000
#define QUERIES 4096 /* prepared, so that making them costs little in the loop */

static uint64_t random_state = 42;

static uint64_t random_word(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* "VmRSS:" or "VmHWM:", in MiB. */
static double memory_mib(const char *field)
{
	char line[128];
	long kib = 0;
	FILE *status = fopen("/proc/self/status", "r");

	if (!status)
		return 0;
	while (fgets(line, sizeof(line), status))
		if (strncmp(line, field, strlen(field)) == 0)
			kib = strtol(line + strlen(field), NULL, 10);
	fclose(status);
	return (double)kib / 1024;
}

static void reset_peak(void)
{
	FILE *file = fopen("/proc/self/clear_refs", "w");

	if (!file)
		return;
	fputs("5", file);
	fclose(file);
}

struct measure {
	double before_mib, start_ns, added_ns, sealed_ns;
	double after_mib, peak_mib;
};

static void begin(struct measure *m)
{
	reset_peak();
	m->before_mib = memory_mib("VmRSS:");
	m->start_ns = now_ns();
}

static void sealed(struct measure *m)
{
	m->sealed_ns = now_ns();
	m->after_mib = memory_mib("VmRSS:");
	m->peak_mib = memory_mib("VmHWM:");
}

static bool quiet; /* the round that brings in code and libraries */

static void report(
    const char *name, size_t entries, const struct measure *m, double lookup_ns,
    double told_ns, size_t hits)
{
	if (quiet)
		return;
	printf(
	    "%-9s entries=%zu add_ms=%.0f seal_ms=%.0f resident_mib=%.1f peak_mib=%.1f "
	    "lookup_ns=%.0f lookup_with_where_ns=%.0f hits=%.0f%%\n",
	    name, entries, (m->added_ns - m->start_ns) / 1e6,
	    (m->sealed_ns - m->added_ns) / 1e6, m->after_mib - m->before_mib,
	    m->peak_mib - m->before_mib, lookup_ns, told_ns,
	    100.0 * (double)hits / LOOKUPS);
	fflush(stdout);
}

/* The file: list, made before anything is measured. */
struct text {
	char *data;
	size_t len;
};

static void append(struct text *text, const char *line)
{
	size_t len = strlen(line);

	memcpy(text->data + text->len, line, len);
	text->data[text->len + len] = '\n';
	text->len += len + 1;
}

static struct text text_new(size_t entries)
{
	struct text text = {.data = malloc(entries * 64)};

	if (!text.data)
		exit(1);
	return text;
}

/* The next entry, or false at the end. */
static bool next_entry(
    const struct text *text, size_t *at, const char **ret, size_t *ret_len)
{
	const char *line = text->data + *at, *reason;
	size_t reason_len;

	if (*at == text->len)
		return false;
	const char *end = memchr(line, '\n', text->len - *at);
	*at = (size_t)(end + 1 - text->data);
	return list_line_split(
	    line, (size_t)(end - line), ret, ret_len, &reason, &reason_len);
}

static void must(const char *error)
{
	if (!error)
		return;
	fprintf(stderr, "%s\n", error);
	exit(1);
}

/* ---- hosts ---- */

enum shape { SHAPE_MIXED, SHAPE_NESTED, SHAPE_SORTED, SHAPE_V6 };

static struct ip random_ip(enum shape shape, uint64_t word)
{
	struct ip ip = {.family = shape == SHAPE_V6 ? IP_V6 : IP_V4};

	if (shape != SHAPE_V6) {
		for (int i = 0; i < 4; i++)
			ip.bytes[i] = (uint8_t)(word >> 8 * i);
		return ip;
	}
	/* Registries give 2001::/16, 2400::/12, 2600::/12, 2a00::/12 away. */
	static const uint8_t first[] = {0x20, 0x24, 0x26, 0x2a};
	ip.bytes[0] = first[word & 3];
	ip.bytes[1] = word & 3 ? (uint8_t)(word >> 2 & 15) : 1;
	for (int i = 2; i < 8; i++)
		ip.bytes[i] = (uint8_t)(word >> 8 * i);
	return ip;
}

/* Half of the mixed ones are networks, half are hosts. */
static uint8_t random_length(enum shape shape, uint64_t word)
{
	switch (shape) {
	case SHAPE_MIXED:
	case SHAPE_SORTED:
		return word >> 40 & 1 ? 24 : 32;
	case SHAPE_NESTED:
		return (uint8_t)(16 + (word >> 40) % 17);
	case SHAPE_V6:
		return word >> 8 & 1 ? 64 : 48;
	}
	return 32;
}

static struct ip_prefix prefix_of(
    enum shape shape, size_t i, size_t entries, const struct ip *seed)
{
	struct ip_prefix prefix = {.ip = *seed};

	prefix.length = random_length(shape, random_word());
	if (shape == SHAPE_SORTED) {
		uint64_t at = ((uint64_t)i << 32) / entries;
		for (int byte = 0; byte < 4; byte++)
			prefix.ip.bytes[byte] = (uint8_t)(at >> (24 - 8 * byte));
	}
	prefix.ip = ip_mask(prefix.ip, prefix.length);
	return prefix;
}

static double look_up_hosts(
    const struct host_list *list, enum shape shape, bool told, size_t *ret_hits)
{
	static struct client client;
	static struct list_match match;
	size_t hits = 0;
	double start = now_ns();

	for (size_t i = 0; i < LOOKUPS; i++) {
		client.ip = random_ip(shape, random_word());
		hits +=
		    host_list_match(list, &client, told ? &match : NULL) == HOST_MATCH;
	}
	*ret_hits = hits;
	return (now_ns() - start) / LOOKUPS;
}

static void bench_hosts(const char *name, enum shape shape, size_t entries)
{
	struct list_entry entry = {.where = {.file = "hosts"}};
	struct host_list *list = NULL;
	struct text text = text_new(entries);
	struct measure m;
	char errbuf[256];
	const char *item;
	size_t repeated, hits, at = 0, len;

	for (size_t i = 0; i < entries; i++) {
		char line[IP_TEXT_MAX];
		struct ip ip = random_ip(shape, random_word());
		struct ip_prefix prefix = prefix_of(shape, i, entries, &ip);
		append(&text, ip_prefix_print(&prefix, line));
	}
	begin(&m);
	if (host_list_new(&list))
		exit(1);
	while (next_entry(&text, &at, &item, &len)) {
		entry.where.line++;
		must(host_list_add(list, item, len, true, &entry, errbuf));
	}
	m.added_ns = now_ns();
	if (host_list_seal(list, &repeated))
		exit(1);
	sealed(&m);
	double lookup_ns = look_up_hosts(list, shape, false, &hits);
	double told_ns = look_up_hosts(list, shape, true, &hits);
	report(name, entries, &m, lookup_ns, told_ns, hits);
	host_list_free(list);
	free(text.data);
}

/* ---- addresses ---- */

/* 30 bytes on average, the final NUL not counted. */
static void address_text(uint64_t i, char *buf, size_t size)
{
	uint64_t word = i * 0x9e3779b97f4a7c15U;

	snprintf(
	    buf, size, "user%07u@host%03u.example%u.com", (unsigned)(i % 10000000),
	    (unsigned)(word >> 40 & 0x1ff), (unsigned)(word >> 50 & 0xff));
}

static double look_up_addresses(
    const struct address_list *list, size_t entries, bool told, size_t *ret_hits)
{
	static struct address queries[QUERIES];
	static struct list_match match;
	size_t hits = 0;
	double spent = 0;

	for (size_t done = 0; done < LOOKUPS; done += QUERIES) {
		for (size_t i = 0; i < QUERIES; i++) {
			char text[64];
			address_text(random_word() % (2 * entries), text, sizeof(text));
			address_canonical(text, strlen(text), "+", &queries[i]);
		}
		double start = now_ns();
		for (size_t i = 0; i < QUERIES; i++)
			hits +=
			    address_list_match(list, &queries[i], told ? &match : NULL);
		spent += now_ns() - start;
	}
	*ret_hits = hits;
	return spent / LOOKUPS;
}

static void bench_addresses(const char *name, size_t entries)
{
	struct list_entry entry = {.where = {.file = "senders"}};
	struct address_list *list = NULL;
	struct text text = text_new(entries);
	struct measure m;
	char errbuf[256];
	const char *item;
	size_t repeated, hits, at = 0, len;

	for (size_t i = 0; i < entries; i++) {
		char line[64];
		address_text(i, line, sizeof(line));
		append(&text, line);
	}
	begin(&m);
	if (address_list_new(&list))
		exit(1);
	while (next_entry(&text, &at, &item, &len)) {
		entry.where.line++;
		must(address_list_add(list, item, len, "+", &entry, errbuf));
	}
	m.added_ns = now_ns();
	if (address_list_seal(list, &repeated))
		exit(1);
	sealed(&m);
	double lookup_ns = look_up_addresses(list, entries, false, &hits);
	double told_ns = look_up_addresses(list, entries, true, &hits);
	report(name, entries, &m, lookup_ns, told_ns, hits);
	if (!quiet)
		printf(
		    "          bytes a text: %.1f\n",
		    (double)text.len / (double)entries - 1.0);
	address_list_free(list);
	free(text.data);
}

static void bench_canonical(void)
{
	static struct address address;
	static const char *const texts[] = {
	    "ada.lovelace+tag@mail.example.org",
	    "ada@bücher.example",
	    "ada@ü.ü.ü.ü.ü.ü.ü.ü.ü.ü.ü.ü.ü.ü.ü.ü.ü.ü.ü.ü.ü.ü.ü.ü.ü.ü.ü.ü.ü.ü.ü",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		const size_t rounds = i ? 2000 : LOOKUPS;
		double start = now_ns();
		for (size_t round = 0; round < rounds; round++)
			address_canonical(texts[i], strlen(texts[i]), "+", &address);
		if (!quiet)
			printf(
			    "canonical address_ns=%.0f (%zu bytes)\n",
			    (now_ns() - start) / (double)rounds, strlen(texts[i]));
	}
	fflush(stdout);
}

static void run(int which, size_t entries)
{
	switch (which) {
	case 0:
		bench_hosts("mixed", SHAPE_MIXED, entries);
		break;
	case 1:
		bench_hosts("nested", SHAPE_NESTED, entries);
		break;
	case 2:
		bench_hosts("sorted", SHAPE_SORTED, entries);
		break;
	case 3:
		bench_hosts("ipv6", SHAPE_V6, entries);
		break;
	case 4:
		bench_addresses("addresses", entries);
		break;
	default:
		bench_canonical();
		break;
	}
}

int main(int argc, char **argv)
{
	size_t entries = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;

	if (!entries || argc > 2) {
		fprintf(stderr, "usage: bench_lists [ENTRIES]\n");
		return 64;
	}
	for (int which = 0; which < 6; which++) {
		int status = 0;
		pid_t pid = fork();
		if (pid < 0)
			return 1;
		if (pid == 0) {
			quiet = true;
			run(which, 1000);
			quiet = false;
			run(which, entries);
			_exit(0);
		}
		if (waitpid(pid, &status, 0) != pid || status != 0)
			return 1;
	}
	return 0;
}
