/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/counter_name.h"

#include "common/cleanup.h"
#include "common/digest.h"
#include "policyd/core/subject.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What one part may be, in the order in which keys have them. */
static const unsigned bits[] = {PER_CLIENT,        PER_USER,      PER_SENDER,
				PER_SENDER_DOMAIN, PER_RECIPIENT, PER_RECIPIENT_DOMAIN,
				PER_EVERYONE};

#define BITS (sizeof(bits) / sizeof(bits[0]))

struct counter_name {
	const struct config *config; /* the caller's, as long as this lives */
	/* By bit: the part as a key has it, escaped; "" where it cannot be that. */
	char escaped[BITS][CHARGE_KEY_MAX];
};

DEFINE_CLEANUP(struct counter_name, counter_name_free)

struct counter_name *counter_name_free(struct counter_name *name)
{
	free(name);
	return NULL;
}

static bool is_single(unsigned per)
{
	return per != 0 && (per & (per - 1)) == 0;
}

/* ---- from a text ---- */

static const struct kind {
	const char *name;
	unsigned per;
} kinds[] = {
    {"client", PER_CLIENT},
    {"user", PER_USER},
    {"sender", PER_SENDER | PER_SENDER_DOMAIN},
    {"recipient", PER_RECIPIENT | PER_RECIPIENT_DOMAIN},
    {"sender_domain", PER_SENDER_DOMAIN},
    {"recipient_domain", PER_RECIPIENT_DOMAIN},
};

/* 0: no kind. */
static unsigned per_of_kind(const char *kind)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(kinds[i].name, kind) == 0)
			return kinds[i].per;
	return 0;
}

/* The part alone, as a key would have it. */
static void set_escaped(
    struct counter_name *name, size_t bit, const struct subject_part *part)
{
	struct charge charge;

	subject_key("", part, 1, &charge);
	strcpy(name->escaped[bit], charge.key + charge.subject_at);
}

static void set_plain(struct counter_name *name, size_t bit, const char *text)
{
	struct subject_part part = {.text = text, .domain = ""};

	set_escaped(name, bit, &part);
}

/* By what a request with this text in every place counts for. */
static void set_from_facts(
    struct counter_name *name, unsigned per, const struct facts *facts)
{
	struct subject_part parts[SUBJECT_PARTS_MAX];
	size_t count;

	for (size_t i = 0; i < BITS; i++)
		if ((per & bits[i]) &&
		    subject_parts(bits[i], facts, false, parts, &count) && count == 1 &&
		    strcmp(parts[0].text, "?") != 0)
			set_escaped(name, i, &parts[0]);
}

/* A request that says @text of client, user, sender and recipient. "ADDRESS/64" is what
 * an IPv6 client is counted as. */
static int facts_of(const struct config *config, const char *text, struct facts **ret)
{
	struct facts *facts = calloc(1, sizeof(*facts));
	struct request request = {.state = STATE_RCPT};
	struct slice all = {text, strlen(text)}, null = {"", 0};
	struct ip_prefix prefix;
	struct slice client = all;

	if (!facts)
		return -ENOMEM;
	if (!ip_prefix_parse(text, all.len, &prefix) && prefix.ip.family == IP_V6 &&
	    prefix.length == 64)
		client.len = strcspn(text, "/");
	request.client_address = client;
	request.sasl_method = (struct slice){"PLAIN", 5};
	request.sasl_username = all;
	request.sender = strcmp(text, "<>") == 0 ? null : all;
	request.recipient = request.sender;
	facts_read(config, &request, facts);
	*ret = facts;
	return 0;
}

/* A domain may stand alone or behind an @; requests have it in an address. */
static int set_domains(struct counter_name *name, unsigned per, const char *text)
{
	char address[ADDRESS_DOMAIN_MAX + 16] = "x@";
	const char *domain = text[0] == '@' ? text + 1 : text;
	struct facts *facts;

	per &= PER_SENDER_DOMAIN | PER_RECIPIENT_DOMAIN;
	if (per == 0 || strchr(domain, '@') || strlen(domain) > ADDRESS_DOMAIN_MAX ||
	    strcmp(domain, "<>") == 0)
		return 0;
	strcat(address, domain);
	int r = facts_of(name->config, address, &facts);
	if (r < 0)
		return r;
	set_from_facts(name, per, facts);
	free(facts);
	return 0;
}

static int set_all(struct counter_name *name, unsigned per, const char *text)
{
	struct facts *facts;
	unsigned addresses = PER_CLIENT | PER_USER | PER_SENDER | PER_RECIPIENT;

	if (strcmp(text, "<>") == 0)
		addresses = PER_SENDER;

	int r = facts_of(name->config, text, &facts);
	if (r < 0)
		return r;
	set_from_facts(name, per & addresses, facts);
	free(facts);
	return set_domains(name, per, text);
}

int counter_name_new(
    const struct config *config, const char *kind, const char *text,
    struct counter_name **ret, const char **reterr)
{
	CLEANUP(counter_name_freep)
	struct counter_name *name = calloc(1, sizeof(*name));
	unsigned per = kind ? per_of_kind(kind) : ~0U;
	bool any = false;

	if (!name)
		return -ENOMEM;
	name->config = config;
	if (per == 0) {
		*reterr = "a subject is a client, user, sender, recipient, sender_domain "
			  "or recipient_domain";
		return -EINVAL;
	}
	for (size_t i = 0; strcmp(text, "?") == 0 && i < BITS; i++)
		if ((per & bits[i]) && bits[i] != PER_EVERYONE)
			set_plain(name, i, "?");
	if (strcmp(text, "*") == 0 && (per & PER_EVERYONE))
		set_plain(name, BITS - 1, "*");
	int r = set_all(name, per, text);
	if (r < 0)
		return r;
	for (size_t i = 0; i < BITS; i++)
		any = any || name->escaped[i][0] != '\0';
	if (!any) {
		*reterr = kind && strcmp(kind, "client") == 0
			      ? "this is no IP address"
			      : "this is no address, user name or domain";
		return -EINVAL;
	}
	*ret = TAKE(name);
	return 0;
}

/* ---- keys ---- */

bool counter_name_key(
    const struct counter_name *name, size_t index, char ret[static CHARGE_KEY_MAX])
{
	const struct limit *limit = &name->config->limits[index];

	if (!is_single(limit->per))
		return false;
	for (size_t i = 0; i < BITS; i++) {
		if (limit->per != bits[i] || name->escaped[i][0] == '\0')
			continue;
		strcpy(ret, limit->name);
		strcat(ret, ":");
		strcat(ret, name->escaped[i]);
		return true;
	}
	return false;
}

bool counter_name_is_part(const struct counter_name *name, size_t index)
{
	unsigned per = name->config->limits[index].per;

	for (size_t i = 0; i < BITS; i++)
		if ((per & bits[i]) && name->escaped[i][0] != '\0')
			return !is_single(per);
	return false;
}

/* ---- back from keys ---- */

static bool find_limit(
    const struct config *config, const char *name, size_t len, size_t *ret)
{
	for (size_t i = 0; i < config->limits_count; i++)
		if (strlen(config->limits[i].name) == len &&
		    memcmp(config->limits[i].name, name, len) == 0) {
			*ret = i;
			return true;
		}
	return false;
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Undoes the escapes of the part that ends at @end; NUL-terminates. */
static void unescape(const char *from, const char *end, char *to)
{
	while (from < end) {
		bool escape = *from == '%' && end - from >= 3;
		int high = escape ? hex_digit(from[1]) : -1;
		int low = escape ? hex_digit(from[2]) : -1;
		if (high >= 0 && low >= 0 && (high || low)) {
			*to++ = (char)(high * 16 + low);
			from += 3;
		} else {
			*to++ = *from++;
		}
	}
	*to = '\0';
}

/* A part read back: what subject_max() looks at. */
struct read_part {
	struct subject_part part;
	struct address user;
	struct ip ip;
	char text[CHARGE_KEY_MAX];
};

static void set_user(struct read_part *read)
{
	const char *domain = read->part.domain;
	size_t len = strlen(read->text);

	read->user.kind = ADDRESS_OK;
	read->user.len = (uint16_t)len;
	read->user.domain_len = (uint16_t)strlen(domain);
	read->user.local_len =
	    (uint16_t)(domain[0] ? len - read->user.domain_len - 1 : len);
	memcpy(read->user.text, read->text, len + 1);
	read->part.user = &read->user;
}

static void set_part(struct read_part *read, unsigned bit)
{
	const char *at = strrchr(read->text, '@');

	read->part.text = read->text;
	read->part.domain = "";
	read->part.ip = NULL;
	read->part.user = NULL;
	if (bit == PER_CLIENT) {
		ip_parse(read->text, strcspn(read->text, "/"), &read->ip);
		read->part.ip = &read->ip;
	} else if (bit & (PER_SENDER_DOMAIN | PER_RECIPIENT_DOMAIN)) {
		read->part.domain = read->text;
	} else if (at) {
		read->part.domain = at + 1;
	}
	if (bit == PER_USER)
		set_user(read);
}

/* What stands for a subject that is too long. */
static bool is_digest(const char *text)
{
	return text[0] == '#' && strlen(text) == 1 + DIGEST_HEX_LEN;
}

/* The max for the parts in the key; of a subject that stands as its digest, the limit's.
 */
static void read_max(const struct config *config, struct counter *counter)
{
	unsigned per = config->limits[counter->limit].per;
	struct read_part reads[SUBJECT_PARTS_MAX];
	struct subject_part parts[SUBJECT_PARTS_MAX];
	const char *from = counter->subject_text;
	size_t count = 0;

	for (size_t i = 0; !is_digest(from) && i < BITS; i++) {
		if (!(per & bits[i]))
			continue;
		size_t len = strcspn(from, "|");
		unescape(from, from + len, reads[count].text);
		set_part(&reads[count], bits[i]);
		parts[count] = reads[count].part;
		count++;
		from += len + (from[len] == '|');
	}
	counter->max = 0;
	counter->is_unlimited =
	    !subject_max(config, counter->limit, parts, count, &counter->max);
	if (counter->is_unlimited)
		counter->max = 0;
}

bool counter_read(
    const struct config *config, const char *key, size_t key_len, struct counter *ret)
{
	const char *colon = memchr(key, ':', key_len);

	if (!colon || key_len >= sizeof(ret->key) ||
	    !find_limit(config, key, (size_t)(colon - key), &ret->limit))
		return false;
	memcpy(ret->key, key, key_len);
	ret->key[key_len] = '\0';
	ret->subject_text = ret->key + (colon - key) + 1;
	unescape(ret->subject_text, ret->key + key_len, ret->subject);
	read_max(config, ret);
	return true;
}

bool counter_is_of(
    const struct config *config, const struct counter *counter,
    const struct counter_name *name)
{
	unsigned per = config->limits[counter->limit].per;
	const char *from = counter->subject_text;

	for (size_t i = 0; i < BITS; i++) {
		if (!(per & bits[i]))
			continue;
		size_t len = strcspn(from, "|");
		if (len > 0 && strlen(name->escaped[i]) == len &&
		    memcmp(name->escaped[i], from, len) == 0)
			return true;
		from += len + (from[len] == '|');
	}
	return false;
}
