/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/config_build.h"

#include "common/config_values.h"
#include "common/near_key.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * `limits`: what the option table cannot say of one limit alone, and `shadow`, which
 * names limits and checks.
 */

/* Overrides are looked through one by one for each request: that bounds its time. */
#define OVERRIDES_MAX 1000

/* What has a mail address or SASL user name, and so a domain. */
#define PER_WITH_DOMAIN                                                                  \
	(PER_USER | PER_SENDER | PER_SENDER_DOMAIN | PER_RECIPIENT | PER_RECIPIENT_DOMAIN)

/* The checks of the policy daemon by name, in their order. */
static const char *const check_names[] = {
    "host_block",   "submission_hosts", "country",         "auth_port",
    "auth_tls",     "auth_required",    "user_block",      "sender_block",
    "sender_login", "forged_sender",    "recipient_block", "relay",
    "limits",
};

#define CHECK_NAMES (sizeof(check_names) / sizeof(check_names[0]))

void limit_done(struct limit *limit)
{
	free(limit->name);
	free(limit->filter);
	host_list_free(limit->when.hosts);
	user_list_free(limit->when.users);
	address_list_free(limit->when.sender_domains);
	for (size_t i = 0; i < limit->overrides_count; i++)
		free(limit->overrides[i].subject);
	free(limit->overrides);
}

/* TRANSPORT:NEXTHOP as access(5) takes it. */
static bool is_filter(const char *text)
{
	static const char letters[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	    "0123456789_-";
	size_t len = strspn(text, letters);
	if (len == 0 || text[len] != ':')
		return false;
	for (const char *p = text + len + 1; *p; p++)
		if (*p <= 0x20 || *p >= 0x7F)
			return false;
	return strlen(text) < 256;
}

bool config_read_over(
    struct config_build *build, const struct config_option *row,
    const struct config_value *value, struct limit *limit)
{
	const char *text =
	    json_is_string(value->json) ? json_string_value(value->json) : "";
	char buf[300];

	for (const struct option_choice *choice = row->choices; choice->name; choice++) {
		if (strcmp(choice->name, text) == 0) {
			limit->over = (enum limit_over)choice->value;
			return true;
		}
	}
	if (strncmp(text, "filter:", 7) == 0 && is_filter(text + 7)) {
		limit->over = OVER_FILTER;
		limit->filter = config_copy(build, text + 7);
		return limit->filter;
	}
	config_type_error(build, value, config_option_expects(row, buf, sizeof(buf)));
	return false;
}

/* The subject of one override in the form the limit's keys have. NULL: good. */
static const char *parse_subject(
    const struct config_build *build, unsigned per, const char *text, size_t len,
    struct limit_override *ret, char subject[static ADDRESS_TEXT_MAX])
{
	char domain[ADDRESS_DOMAIN_MAX + 1];
	struct address address;

	subject[0] = '\0';
	if (!ip_prefix_parse(text, len, &ret->prefix))
		return per & PER_CLIENT
			   ? NULL
			   : "an address where the limit does not count per client";
	ret->prefix = (struct ip_prefix){0};
	if (len > 1 && text[0] == '@') {
		if (!(per & PER_WITH_DOMAIN))
			return "a domain where the limit counts nothing that has one";
		if (!domain_canonical(text + 1, len - 1, domain))
			return "not a domain behind the @";
		subject[0] = '@';
		strcpy(subject + 1, domain);
		return NULL;
	}
	if (memchr(text, '@', len)) {
		if (!(per & (PER_USER | PER_SENDER | PER_RECIPIENT)))
			return "a user or address where the limit counts none";
		if (per & PER_USER)
			user_canonical(text, len, &address);
		else
			address_canonical(
			    text, len, build->config->recipient_delimiter, &address);
		if (address.kind != ADDRESS_OK)
			return "not a user or address";
		strcpy(subject, address.text);
		return NULL;
	}
	if (len == 2 && memcmp(text, "<>", 2) == 0 &&
	    (per & (PER_SENDER | PER_SENDER_DOMAIN))) {
		strcpy(subject, "<>");
		return NULL;
	}
	if ((per & (PER_SENDER_DOMAIN | PER_RECIPIENT_DOMAIN)) &&
	    domain_canonical(text, len, domain)) {
		strcpy(subject, domain);
		return NULL;
	}
	user_canonical(text, len, &address);
	if ((per & PER_USER) && address.kind == ADDRESS_OK) {
		strcpy(subject, address.text);
		return NULL;
	}
	return "a subject this limit does not count";
}

static void read_override(
    struct config_build *build, struct limit *limit, const struct config_value *value)
{
	struct limit_override override = {0};
	char subject[ADDRESS_TEXT_MAX];

	const char *wrong = parse_subject(
	    build, limit->per, value->key, value->key_len, &override, subject);
	if (wrong) {
		config_error_at_key(
		    build, value,
		    "%s, expected a subject of its \"per\", @domain or a CIDR "
		    "range",
		    wrong);
		return;
	}
	if (!config_read_amount(build, value, &override.max, &override.unlimited))
		return;
	for (size_t i = 0; i < limit->overrides_count; i++) {
		const struct limit_override *other = &limit->overrides[i];
		if (strcmp(other->subject, subject) == 0 &&
		    memcmp(&other->prefix, &override.prefix, sizeof(other->prefix)) ==
			0) {
			config_error_at_key(
			    build, value, "the same subject stands here before");
			return;
		}
	}
	override.subject = config_copy(build, subject);
	if (override.subject)
		limit->overrides[limit->overrides_count++] = override;
}

static void read_overrides(
    struct config_build *build, struct limit *limit, const struct config_value *item)
{
	struct config_value map;
	if (!limit->per || !config_member(item, "override", &map) ||
	    !json_is_object(map.json))
		return;
	size_t count = json_object_size(map.json);
	if (count > OVERRIDES_MAX) {
		config_error(
		    build, &map, "%zu overrides, expected at most %d", count,
		    OVERRIDES_MAX);
		return;
	}
	limit->overrides = calloc(count ? count : 1, sizeof(*limit->overrides));
	if (!limit->overrides) {
		build->no_memory = true;
		return;
	}
	for (struct config_each each = config_each(&map); config_next(&each);)
		read_override(build, limit, &each.value);
}

static bool is_distinct(enum limit_count count)
{
	switch (count) {
	case COUNT_CLIENTS:
	case COUNT_COUNTRIES:
	case COUNT_SENDERS:
		return true;
	case COUNT_MESSAGES:
	case COUNT_RECIPIENTS:
	case COUNT_BYTES:
	case COUNT_REFUSALS:
		break;
	}
	return false;
}

/* Counters end somewhere, and each subject of a distinct count has a set of up to max. */
static void check_amount_is_kept(
    struct config_build *build, const struct limit *limit,
    const struct config_value *value)
{
	uint64_t most = is_distinct(limit->count) ? LIMIT_DISTINCT_MAX : LIMIT_AMOUNT_MAX;
	uint64_t amount = 0;
	char described[128];

	if (json_is_string(value->json)
		? !size_parse(json_string_value(value->json), &amount)
		: !json_is_integer(value->json))
		return;
	if (json_is_integer(value->json) && json_integer_value(value->json) > 0)
		amount = (uint64_t)json_integer_value(value->json);
	if (amount > most && !value->node->too_big)
		config_error(
		    build, value, "%s, expected at most %llu%s",
		    config_describe(value, described), (unsigned long long)most,
		    most == LIMIT_DISTINCT_MAX ? ": what is told apart is kept in memory"
					       : "");
}

/* Sizes count bytes: "25M" recipients would be a slip. */
static void check_amount(
    struct config_build *build, const struct limit *limit,
    const struct config_value *value)
{
	char described[128];

	check_amount_is_kept(build, limit, value);
	if (json_is_string(value->json) && limit->count != COUNT_BYTES)
		config_error(
		    build, value,
		    "%s, expected a whole number: the limit does not count bytes",
		    config_describe(value, described));
}

static void check_amounts(
    struct config_build *build, const struct limit *limit,
    const struct config_value *item)
{
	struct config_value value;
	if (config_member(item, "max", &value))
		check_amount(build, limit, &value);
	if (config_member(item, "override", &value) && json_is_object(value.json))
		for (struct config_each each = config_each(&value); config_next(&each);)
			check_amount(build, limit, &each.value);
}

static void check_per(
    struct config_build *build, const struct limit *limit,
    const struct config_value *item)
{
	struct config_value per, window;
	bool windowed = config_member(item, "window", &window);

	if (!config_member(item, "per", &per) || !limit->per)
		return;
	if ((limit->per & PER_MESSAGE) && limit->per != PER_MESSAGE)
		config_error(build, &per, "\"message\" with others, expected it alone");
	else if ((limit->per & PER_EVERYONE) && limit->per != PER_EVERYONE)
		config_error(build, &per, "\"everyone\" with others, expected it alone");
	if (limit->per == PER_MESSAGE && windowed)
		config_error(
		    build, &window, "a limit per message has no window, expected none");
	if (!(limit->per & PER_MESSAGE) && !windowed)
		config_error(
		    build, item,
		    "\"window\" is missing: only a limit per message has none");
}

#define PER_ANY_RECIPIENT (PER_RECIPIENT | PER_RECIPIENT_DOMAIN)

/* Why @limit cannot count what it is to count per these subjects. NULL: it can. */
static const char *nonsense(const struct limit *limit)
{
	switch (limit->count) {
	case COUNT_MESSAGES:
	case COUNT_RECIPIENTS:
		return NULL;
	case COUNT_BYTES:
		return limit->per & PER_ANY_RECIPIENT
			   ? "bytes per recipient, expected no recipient in \"per\": the "
			     "size is known when recipients are not told apart any more"
			   : NULL;
	case COUNT_REFUSALS:
	case COUNT_CLIENTS:
	case COUNT_COUNTRIES:
	case COUNT_SENDERS:
		break;
	}
	if (limit->per & PER_MESSAGE)
		return "not something a message has, expected messages, recipients or "
		       "bytes with \"per\": \"message\"";
	if (limit->count == COUNT_CLIENTS && (limit->per & PER_CLIENT))
		return "clients per client, which are always one, expected another "
		       "\"count\" or \"per\"";
	if (limit->count == COUNT_COUNTRIES && (limit->per & PER_CLIENT))
		return "countries per client, which are always one, expected another "
		       "\"count\" or \"per\"";
	if (limit->count == COUNT_SENDERS && (limit->per & PER_SENDER))
		return "senders per sender, which are always one, expected another "
		       "\"count\" or \"per\"";
	return NULL;
}

static bool is_one_bit(unsigned set)
{
	return set != 0 && (set & (set - 1)) == 0;
}

/* What count, over and block have to do with per. */
static void check_against_per(
    struct config_build *build, const struct limit *limit,
    const struct config_value *item)
{
	struct config_value value;

	if (!limit->per)
		return;
	if (config_member(item, "count", &value) && json_is_string(value.json)) {
		const char *wrong = nonsense(limit);
		if (wrong)
			config_error(build, &value, "%s", wrong);
	}
	/* Charged at RCPT, where such an answer would stand in the place of the grant. */
	bool amount = limit->count == COUNT_MESSAGES || limit->count == COUNT_RECIPIENTS;
	bool passes = limit->over != OVER_REJECT && limit->over != OVER_DEFER;
	if (amount && passes && (limit->per & PER_ANY_RECIPIENT) &&
	    config_member(item, "over", &value))
		config_error(
		    build, &value,
		    "an answer for whole messages, expected \"defer\" or \"reject\" of a "
		    "limit per recipient");
	if (limit->block_s > 0 && config_member(item, "block", &value) &&
	    (!is_one_bit(limit->per) || (limit->per & (PER_EVERYONE | PER_MESSAGE))))
		config_error(
		    build, &value,
		    "nobody to block, expected \"per\" to be one of client, user, "
		    "sender, sender_domain, recipient, recipient_domain");
}

static void check_name_is_new(
    struct config_build *build, size_t index, const struct config_value *item)
{
	const struct limit *limit = &build->config->limits[index];
	struct config_value name;

	if (!limit->name || !config_member(item, "name", &name))
		return;
	for (size_t i = 0; i < index; i++) {
		const struct limit *other = &build->config->limits[i];
		if (other->name && strcmp(other->name, limit->name) == 0) {
			config_error(
			    build, &name,
			    "\"%s\" is another limit's name too, at %s:%u:%u",
			    limit->name, other->where.file, other->where.line,
			    other->where.column);
			return;
		}
	}
}

static void read_limit(
    struct config_build *build, size_t row, const struct config_value *item)
{
	struct config *config = build->config;
	size_t index = config->limits_count++;
	struct limit *limit = &config->limits[index];

	limit->where = config_where(item);
	config_set_defaults(build, row, limit);
	config_walk(build, row, item, limit, NULL);
	if (!json_is_object(item->json))
		return;
	check_name_is_new(build, index, item);
	check_per(build, limit, item);
	check_against_per(build, limit, item);
	check_amounts(build, limit, item);
	read_overrides(build, limit, item);
}

void config_read_limits(
    struct config_build *build, size_t row, const struct config_value *value)
{
	struct config *config = build->config;

	if (!json_is_array(value->json)) {
		config_type_error(build, value, "an array of objects");
		return;
	}
	if (!config->limits) {
		config->limits = calloc(LIMITS_MAX, sizeof(*config->limits));
		if (!config->limits) {
			build->no_memory = true;
			return;
		}
	}
	for (struct config_each each = config_each(value); config_next(&each);) {
		if (config->limits_count == LIMITS_MAX) {
			config_error(
			    build, &each.value,
			    "the limit number %d, expected at most %d", LIMITS_MAX + 1,
			    LIMITS_MAX);
			return;
		}
		read_limit(build, config_option_next_child(row, SIZE_MAX), &each.value);
	}
}

static size_t find_limit(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->limits_count; i++)
		if (config->limits[i].name && strcmp(config->limits[i].name, name) == 0)
			return i;
	return SIZE_MAX;
}

static const char *nearest_limit(const struct config *config, const char *name)
{
	struct near_key near;
	near_key_init(&near, name, strlen(name));
	for (size_t i = 0; i < config->limits_count; i++)
		if (config->limits[i].name)
			near_key_try(&near, config->limits[i].name);
	return near.best;
}

bool config_read_maximum(
    struct config_build *build, const struct config_value *value,
    struct domain_limit *ret)
{
	char name[65], shown[128];
	struct domain_limit maximum = {.limit = SIZE_MAX};

	if (value->key_len < sizeof(name)) {
		memcpy(name, value->key, value->key_len);
		name[value->key_len] = '\0';
		maximum.limit = find_limit(build->config, name);
	}
	if (maximum.limit == SIZE_MAX) {
		const char *near = value->key_len < sizeof(name)
				       ? nearest_limit(build->config, name)
				       : NULL;
		config_error_at_key(
		    build, value, "there is no limit \"%s\"%s%s%s",
		    config_shown(value->key, value->key_len, shown),
		    near ? ", did you mean \"" : ", expected the name of one",
		    near ? near : "", near ? "\"?" : "");
		return false;
	}
	struct limit *limit = &build->config->limits[maximum.limit];
	if (limit->per && !(limit->per & PER_WITH_DOMAIN)) {
		config_error_at_key(
		    build, value,
		    "the limit \"%s\" counts nothing that has a domain, expected "
		    "one per user, sender or recipient, or their domains",
		    limit->name);
		return false;
	}
	if (!config_read_amount(build, value, &maximum.max, &maximum.unlimited))
		return false;
	check_amount(build, limit, value);
	limit->has_domain_max = true;
	*ret = maximum;
	return true;
}

/* ---- shadow ---- */

static bool is_check(const char *name)
{
	for (size_t i = 0; i < CHECK_NAMES; i++)
		if (strcmp(check_names[i], name) == 0)
			return true;
	return false;
}

static void unknown_shadow(
    struct config_build *build, const struct config_value *item, const char *name)
{
	struct near_key near;
	char candidate[LIMITS_MAX][72], shown[128];

	near_key_init(&near, name, strlen(name));
	for (size_t i = 0; i < CHECK_NAMES; i++)
		near_key_try(&near, check_names[i]);
	for (size_t i = 0; i < build->config->limits_count; i++) {
		const char *limit = build->config->limits[i].name;
		snprintf(
		    candidate[i], sizeof(candidate[i]), "limits/%s", limit ? limit : "");
		near_key_try(&near, candidate[i]);
	}
	config_shown(name, strlen(name), shown);
	if (near.best)
		config_error(
		    build, item, "\"%s\" is no check, did you mean \"%s\"?", shown,
		    near.best);
	else
		config_error(
		    build, item, "\"%s\" is no check, expected one or \"limits/NAME\"",
		    shown);
}

static void shadow_all_limits(struct config *config)
{
	for (size_t i = 0; i < config->limits_count; i++)
		config->limits[i].shadow = true;
}

/* What is left in the list are the checks. The check "limits" is all limits: each knows
 * for itself. */
void config_shadow_resolve(struct config_build *build)
{
	struct config *config = build->config;
	struct config_value value;
	struct string_list checks = {0};

	if (!config_again(
		&build->origins[config_option_find("shadow")], NULL, "shadow", &value) ||
	    !json_is_array(value.json))
		return;
	for (struct config_each each = config_each(&value); config_next(&each);) {
		const char *name = json_string_value(each.value.json);
		if (!name || !name[0])
			continue;
		size_t limit = strncmp(name, "limits/", 7) == 0
				   ? find_limit(config, name + 7)
				   : SIZE_MAX;
		if (strcmp(name, "limits") == 0)
			shadow_all_limits(config);
		if (limit != SIZE_MAX)
			config->limits[limit].shadow = true;
		else if (is_check(name))
			config_strings_add(build, &checks, name);
		else
			unknown_shadow(build, &each.value, name);
	}
	config_strings_done(&config->shadow);
	config->shadow = checks;
}
