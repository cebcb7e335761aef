/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/blocks.h"

#include "common/cleanup.h"
#include "common/metrics.h"
#include "common/printable.h"
#include "policyd/block_subject.h"
#include "policyd/core/identity.h"
#include "policyd/ledger.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * A key is KIND:SUBJECT, and so is its name in Redis. The text is "A" (automatic) or "-",
 * by whom, and why, with tabs between, which no printable text has.
 */
#define KEY_MAX (16 + ADDRESS_TEXT_MAX)

/* An unblock is remembered so long where the block had no end: longer than a node stays
 * away with an old state file. */
#define TOMBSTONE_MS (INT64_C(30) * 86400 * 1000)

struct blocks {
	struct ledger *ledger;
	size_t max;
	uint32_t series;
	atomic_size_t count[BLOCK_KINDS];
	/* Blocks of clients by family (IPv4, IPv6) and length. */
	atomic_uint lengths[2][129];
};

static const char *const kind_names[BLOCK_KINDS] = {
    [BLOCK_CLIENT] = "client",
    [BLOCK_USER] = "user",
    [BLOCK_SENDER] = "sender",
    [BLOCK_RECIPIENT] = "recipient",
};

const char *block_kind_name(enum block_kind kind)
{
	return kind_names[kind];
}

enum block_kind block_kind_by_name(const char *name, size_t len)
{
	unsigned i;

	for (i = 0; i < BLOCK_KINDS; i++)
		if (strlen(kind_names[i]) == len && memcmp(kind_names[i], name, len) == 0)
			break;
	return (enum block_kind)i;
}

/* Splits a key; BLOCK_KINDS: it is none. */
static enum block_kind split_key(
    const char *key, size_t len, const char **ret_subject, size_t *ret_len)
{
	const char *colon = memchr(key, ':', len);

	if (!colon)
		return BLOCK_KINDS;
	*ret_subject = colon + 1;
	*ret_len = len - (size_t)(colon + 1 - key);
	return block_kind_by_name(key, (size_t)(colon - key));
}

static size_t compose_key(
    enum block_kind kind, const char *subject, size_t len, char key[static KEY_MAX])
{
	size_t at = strlen(kind_names[kind]);

	memcpy(key, kind_names[kind], at);
	key[at++] = ':';
	memcpy(key + at, subject, len);
	return at + len;
}

/* Under the ledger's lock: what lookups ask before they take it. */
static void on_count(void *context, const char *key, size_t len, int by)
{
	struct blocks *blocks = context;
	const char *subject;
	size_t subject_len;
	struct ip_prefix prefix;
	enum block_kind kind = split_key(key, len, &subject, &subject_len);

	if (kind == BLOCK_KINDS)
		return;
	if (kind == BLOCK_CLIENT && !ip_prefix_parse(subject, subject_len, &prefix))
		atomic_fetch_add(
		    &blocks->lengths[prefix.ip.family == IP_V6][prefix.length],
		    (unsigned)by);
	atomic_fetch_add(&blocks->count[kind], (size_t)by);
	metrics_set(blocks->series, ledger_count(blocks->ledger));
}

struct blocks *blocks_free(struct blocks *blocks)
{
	if (!blocks)
		return NULL;
	ledger_free(blocks->ledger);
	free(blocks);
	return NULL;
}

int blocks_new(size_t max, struct blocks **ret)
{
	struct blocks *blocks = calloc(1, sizeof(*blocks));

	if (!blocks)
		return -ENOMEM;
	int r = ledger_new(max, &blocks->ledger);
	if (r < 0) {
		free(blocks);
		return r;
	}
	blocks->max = max;
	blocks->series = metrics_series(METRIC_BLOCKS, NULL, NULL);
	metrics_set(blocks->series, 0);
	ledger_on_count(blocks->ledger, on_count, blocks);
	*ret = blocks;
	return 0;
}

struct ledger *blocks_ledger(struct blocks *blocks)
{
	return blocks->ledger;
}

uint64_t blocks_generation(const struct blocks *blocks)
{
	return ledger_generation(blocks->ledger);
}

/* ---- a block as text ---- */

struct said {
	bool automatic;
	const char *by, *reason;
	size_t by_len, reason_len;
};

/* False: it is no block's text. */
static bool split_text(const char *text, size_t len, struct said *ret)
{
	const char *end = text + len, *tab;

	if (len < 2 || (text[0] != 'A' && text[0] != '-') || text[1] != '\t')
		return false;
	ret->automatic = text[0] == 'A';
	ret->by = text + 2;
	tab = memchr(ret->by, '\t', len - 2);
	if (!tab)
		return false;
	ret->by_len = (size_t)(tab - ret->by);
	ret->reason = tab + 1;
	ret->reason_len = (size_t)(end - ret->reason);
	return ledger_is_printable(ret->by, ret->by_len, BLOCK_BY_MAX) &&
	       ledger_is_printable(ret->reason, ret->reason_len, BLOCK_REASON_MAX);
}

bool blocks_accept(const struct record *record)
{
	const char *subject;
	size_t len;
	struct said said;
	enum block_kind kind = split_key(record->key, record->key_len, &subject, &len);

	if (kind == BLOCK_KINDS || !block_subject_is_canonical(kind, subject, len))
		return false;
	if (record->removed)
		return record->text_len == 0;
	return split_text(record->text, record->text_len, &said);
}

/* Rounded up: who waits until then has waited enough. */
static int64_t seconds_of(int64_t ms)
{
	return (ms + 999) / 1000;
}

/* What split_text() found has room. */
static void copy(char *to, const char *text, size_t len)
{
	memcpy(to, text, len);
	to[len] = '\0';
}

static void print_block(const struct record *record, struct block *ret)
{
	const char *subject = "";
	size_t len = 0;
	struct said said = {0};

	ret->kind = split_key(record->key, record->key_len, &subject, &len);
	if (len > ADDRESS_TEXT_MAX)
		len = ADDRESS_TEXT_MAX;
	memcpy(ret->subject, subject, len);
	ret->subject[len] = '\0';
	ret->since_s = record->made_ms / 1000;
	ret->until_s = seconds_of(record->until_ms);
	if (!split_text(record->text, record->text_len, &said))
		said = (struct said){.by = "", .reason = ""};
	ret->automatic = said.automatic;
	ret->restored = false;
	ret->stamp_ms = record->stamp_ms;
	ret->base_ms = record->base_ms;
	copy(ret->by, said.by, said.by_len);
	copy(ret->reason, said.reason, said.reason_len);
}

/* ---- looking up ---- */

struct looking {
	struct blocks *blocks;
	const struct config *config;
	const struct facts *facts;
	int64_t now_ms;
	enum block_kind kind;
	struct blocked *ret;
};

bool blocks_spare(
    const struct config *config, const struct facts *facts, enum block_kind kind)
{
	switch (kind) {
	case BLOCK_CLIENT:
		return host_list_match(config->trusted.hosts, &facts->client, NULL) ==
			   HOST_MATCH ||
		       client_is_relay_host(config, facts) == YES;
	case BLOCK_USER:
		return user_is_listed(config, config->trusted.users, &facts->user, NULL);
	case BLOCK_SENDER:
	case BLOCK_RECIPIENT:
		return client_is_trusted(config, facts);
	case BLOCK_KINDS:
		break;
	}
	return false;
}

static bool is_longer(int64_t until_s, const struct blocked *than)
{
	return !than->is_blocked ||
	       (than->until_s != 0 && (until_s == 0 || until_s > than->until_s));
}

static void try_subject(struct looking *l, const char *subject, size_t len)
{
	char key[KEY_MAX] UNINITIALIZED;
	struct record record;
	struct said said = {0};
	struct blocked *ret = l->ret;

	size_t key_len = compose_key(l->kind, subject, len, key);
	if (!ledger_find(l->blocks->ledger, key, key_len, l->now_ms, &record) ||
	    !is_longer(seconds_of(record.until_ms), ret) ||
	    !split_text(record.text, record.text_len, &said) ||
	    (said.automatic && blocks_spare(l->config, l->facts, l->kind)))
		return;
	ret->is_blocked = true;
	ret->until_s = seconds_of(record.until_ms);
	copy(ret->by, said.by, said.by_len);
	copy(ret->reason, said.reason, said.reason_len);
	printable(ret->subject, sizeof(ret->subject), subject, len);
}

static void try_client(struct looking *l, const struct ip *ip)
{
	const atomic_uint *lengths = l->blocks->lengths[ip->family == IP_V6];
	char text[IP_TEXT_MAX];

	for (int length = ip->family == IP_V6 ? 128 : 32; length > 0; length--) {
		if (atomic_load_explicit(&lengths[length], memory_order_relaxed) == 0)
			continue;
		struct ip_prefix prefix = {
		    .ip = ip_mask(*ip, (uint8_t)length),
		    .length = (uint8_t)length,
		};
		ip_prefix_print(&prefix, text);
		try_subject(l, text, strlen(text));
	}
}

/* "@domain", and for mail addresses ".parent" of every parent. */
static void try_domain(struct looking *l, const struct address *address)
{
	char text[ADDRESS_DOMAIN_MAX + 2];
	const char *domain = address_domain(address);
	size_t len = address->domain_len;

	if (len == 0)
		return;
	text[0] = '@';
	memcpy(text + 1, domain, len);
	try_subject(l, text, len + 1);
	if (l->kind == BLOCK_USER)
		return;
	for (const char *dot = domain; (dot = strchr(dot, '.')); dot++)
		try_subject(l, dot, len - (size_t)(dot - domain));
}

static void try_address(struct looking *l, const struct address *address)
{
	switch (address->kind) {
	case ADDRESS_NULL:
		try_subject(l, "<>", 2);
		break;
	case ADDRESS_OK:
		try_subject(l, address->text, address->len);
		try_domain(l, address);
		break;
	case ADDRESS_ABSENT:
	case ADDRESS_BAD:
		break;
	}
}

static void look(struct looking *l)
{
	switch (l->kind) {
	case BLOCK_CLIENT:
		if (l->facts->client.ip.family != IP_NONE)
			try_client(l, &l->facts->client.ip);
		break;
	case BLOCK_USER:
		try_address(l, &l->facts->user);
		break;
	case BLOCK_SENDER:
		try_address(l, &l->facts->sender);
		break;
	case BLOCK_RECIPIENT:
		try_address(l, &l->facts->recipient);
		break;
	case BLOCK_KINDS:
		break;
	}
}

void blocks_look(
    struct blocks *blocks, const struct config *config, int64_t now_s, struct facts *ret)
{
	struct looking l = {blocks, config, ret, now_s * 1000, BLOCK_CLIENT, NULL};

	if (ledger_count(blocks->ledger) == 0)
		return;
	ledger_read(blocks->ledger);
	for (unsigned i = 0; i < BLOCK_KINDS; i++) {
		if (atomic_load_explicit(&blocks->count[i], memory_order_relaxed) == 0)
			continue;
		l.kind = (enum block_kind)i;
		l.ret = &ret->blocked[i];
		l.ret->is_set = true;
		look(&l);
	}
	ledger_leave(blocks->ledger);
}

/* ---- changes ---- */

static enum ledger_rule rule_of(const struct block *block)
{
	if (block->restored)
		return LEDGER_LATER;
	return block->automatic ? LEDGER_KEEP : LEDGER_REPLACE;
}

int blocks_put(struct blocks *blocks, const struct block *block)
{
	char key[KEY_MAX], by[BLOCK_BY_MAX], reason[BLOCK_REASON_MAX];
	char text[BLOCK_BY_MAX + BLOCK_REASON_MAX + 4];
	size_t len = strlen(block->subject);

	if (!block_subject_is_canonical(block->kind, block->subject, len))
		return -EINVAL;
	if (block->automatic &&
	    ledger_count(blocks->ledger) >= blocks->max - blocks->max / 8)
		ledger_prune(blocks->ledger);
	if (block->automatic &&
	    ledger_count(blocks->ledger) >= blocks->max - blocks->max / 8)
		return -ENOSPC;
	ledger_print(by, sizeof(by), block->by);
	ledger_print(reason, sizeof(reason), block->reason);
	int text_len = snprintf(
	    text, sizeof(text), "%c\t%s\t%s", block->automatic ? 'A' : '-', by, reason);
	struct record record = {
	    .key = key,
	    .key_len = compose_key(block->kind, block->subject, len, key),
	    .text = text,
	    .text_len = (size_t)text_len,
	    .made_ms = block->since_s * 1000,
	    .until_ms = block->until_s * 1000,
	    .restored = block->restored,
	    .stamp_ms = block->stamp_ms,
	    .base_ms = block->base_ms,
	};
	return ledger_put(blocks->ledger, &record, rule_of(block), LEDGER_REFUSE);
}

int blocks_put_lifted(struct blocks *blocks, const struct lifted_block *lifted)
{
	size_t len = strlen(lifted->subject);
	char key[KEY_MAX];

	if (!block_subject_is_canonical(lifted->kind, lifted->subject, len))
		return -EINVAL;
	/* Never longer than one that is made now. */
	int64_t most_ms = lifted->at_ms + TOMBSTONE_MS;
	struct record record = {
	    .key = key,
	    .key_len = compose_key(lifted->kind, lifted->subject, len, key),
	    .text = "",
	    .made_ms = lifted->at_ms,
	    .until_ms = lifted->until_ms < most_ms ? lifted->until_ms : most_ms,
	    .removed = true,
	    .restored = true,
	    .stamp_ms = lifted->stamp_ms,
	    .base_ms = lifted->base_ms,
	};
	return ledger_put(blocks->ledger, &record, LEDGER_LATER, LEDGER_REFUSE);
}

bool blocks_remove(struct blocks *blocks, enum block_kind kind, const char *subject)
{
	char key[KEY_MAX];
	size_t len = strlen(subject);

	if (len > ADDRESS_TEXT_MAX)
		return false;
	return ledger_remove(
	    blocks->ledger, key, compose_key(kind, subject, len, key), TOMBSTONE_MS);
}

struct each {
	block_seen *seen;
	void *context;
};

static void on_record(void *context, const struct record *record)
{
	const struct each *each = context;
	struct block block UNINITIALIZED;

	print_block(record, &block);
	if (block.kind != BLOCK_KINDS)
		each->seen(each->context, &block);
}

void blocks_each(struct blocks *blocks, int64_t now_s, block_seen *seen, void *context)
{
	struct each each = {seen, context};

	ledger_each(blocks->ledger, now_s * 1000, on_record, &each);
}

struct each_lifted {
	lifted_block_seen *seen;
	void *context;
};

static void on_tombstone(void *context, const struct record *record)
{
	const struct each_lifted *each = context;
	const char *subject;
	size_t len;
	struct lifted_block lifted = {
	    .kind = split_key(record->key, record->key_len, &subject, &len),
	    .at_ms = record->made_ms,
	    .until_ms = record->until_ms,
	    .stamp_ms = record->stamp_ms,
	    .base_ms = record->base_ms,
	};

	if (lifted.kind == BLOCK_KINDS || len > ADDRESS_TEXT_MAX)
		return;
	copy(lifted.subject, subject, len);
	each->seen(each->context, &lifted);
}

void blocks_each_lifted(
    struct blocks *blocks, int64_t now_s, lifted_block_seen *seen, void *context)
{
	struct each_lifted each = {seen, context};

	ledger_each_removed(blocks->ledger, now_s * 1000, on_tombstone, &each);
}
