/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/spf_record.h"

#include "common/list_places.h"
#include "common/printable.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define VERSION     "v=spf1"
#define VERSION_LEN 6
#define ERRBUF_SIZE 200

/* A piece of the record. */
struct span {
	const char *text;
	size_t len;
};

/* Which arguments a mechanism has. */
static const struct mechanism_row {
	const char *name;
	bool needs_argument, takes_domain, takes_lengths;
} rows[] = {
    [SPF_ALL] = {"all", false, false, false},
    [SPF_INCLUDE] = {"include", true, true, false},
    [SPF_A] = {"a", false, true, true},
    [SPF_MX] = {"mx", false, true, true},
    [SPF_PTR] = {"ptr", false, true, false},
    [SPF_IP4] = {"ip4", true, false, false},
    [SPF_IP6] = {"ip6", true, false, false},
    [SPF_EXISTS] = {"exists", true, true, false},
};

const char *spf_mechanism_name(enum spf_mechanism mechanism)
{
	return rows[mechanism].name;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool span_is(struct span span, const char *word)
{
	return span.len == strlen(word) && strncasecmp(span.text, word, span.len) == 0;
}

static struct span span_from(struct span span, size_t at)
{
	return (struct span){span.text + at, span.len - at};
}

/* The length up to the first of @bytes, or of all. */
static size_t span_until(struct span span, const char *bytes)
{
	for (size_t i = 0; i < span.len; i++)
		if (strchr(bytes, span.text[i]))
			return i;
	return span.len;
}

/* ---- macros: syntax alone ---- */

/* Of "%{...}", "%%", "%_" or "%-" at the start of @span; 0: none of them. */
static size_t macro_len(struct span span)
{
	size_t at = 3;

	if (span.len >= 2 && strchr("%_-", span.text[1]))
		return 2;
	if (span.len < 4 || span.text[1] != '{' ||
	    !strchr("slodiphcrtv", lower(span.text[2])))
		return 0;
	while (at < span.len && is_digit(span.text[at]))
		at++;
	if (at < span.len && lower(span.text[at]) == 'r')
		at++;
	while (at < span.len && strchr(".-+,/_=", span.text[at]))
		at++;
	return at < span.len && span.text[at] == '}' ? at + 1 : 0;
}

/* False: a "%" that begins no macro. */
static bool macros_are_good(struct span span)
{
	for (size_t i = 0; i < span.len;) {
		size_t n = span.text[i] == '%' ? macro_len(span_from(span, i)) : 1;
		if (!n)
			return false;
		i += n;
	}
	return true;
}

/* ---- arguments ---- */

/* The last label: not of digits alone. Every label has been checked already. */
static bool is_top_label(const char *label)
{
	size_t len = strlen(label);

	return label[0] != '-' && label[len - 1] != '-' && !strchr(label, '_') &&
	       strspn(label, "0123456789") != len;
}

/* A domain-spec without macros. Narrower than the grammar, which takes every visible
 * byte: what no resolver is asked for is an error here, not a void look-up. */
static bool parse_domain(struct span span, char ret[static ADDRESS_DOMAIN_MAX + 1])
{
	size_t label = 0, dots = 0;

	if (span.len && span.text[span.len - 1] == '.')
		span.len--;
	if (!span.len || span.len > ADDRESS_DOMAIN_MAX)
		return false;
	for (size_t i = 0; i < span.len; i++) {
		char c = lower(span.text[i]);
		if (c == '.') {
			if (i == label)
				return false;
			label = i + 1;
			dots++;
		} else if (
		    i - label >= 63 ||
		    (!is_letter(c) && !is_digit(c) && c != '-' && c != '_')) {
			return false;
		}
		ret[i] = c;
	}
	ret[span.len] = '\0';
	return dots && label < span.len && is_top_label(ret + label);
}

/* "0" or digits without a leading zero, at most @max. */
static bool parse_length(struct span span, unsigned max, uint8_t *ret)
{
	unsigned value = 0;

	if (!span.len || span.len > 3 || (span.text[0] == '0' && span.len > 1))
		return false;
	for (size_t i = 0; i < span.len; i++) {
		if (!is_digit(span.text[i]))
			return false;
		value = value * 10 + (unsigned)(span.text[i] - '0');
	}
	*ret = (uint8_t)value;
	return value <= max;
}

/* "/24", "/24//64", "//64" or nothing. */
static bool parse_lengths(struct span span, struct spf_term *term)
{
	if (!span.len)
		return true;
	if (span.len > 1 && span.text[1] == '/')
		return parse_length(span_from(span, 2), 128, &term->length6);
	size_t n = span_until(span_from(span, 1), "/");
	struct span rest = span_from(span, 1 + n);
	if (!parse_length((struct span){span.text + 1, n}, 32, &term->length4))
		return false;
	if (!rest.len)
		return true;
	return rest.len > 1 && rest.text[1] == '/' &&
	       parse_length(span_from(rest, 2), 128, &term->length6);
}

static bool parse_network(struct span span, bool v6, struct spf_term *term)
{
	size_t n = span_until(span, "/");
	unsigned bits = v6 ? 128 : 32;
	uint8_t length = (uint8_t)bits;

	/* A colon tells the families apart where common/ip.h makes them one. */
	if (v6 != !!memchr(span.text, ':', n) || !ip_parse(span.text, n, &term->network))
		return false;
	if (n < span.len && !parse_length(span_from(span, n + 1), bits, &length))
		return false;
	term->length4 = term->length6 = length;
	if (v6 && term->network.family == IP_V4)
		return true;
	term->network = ip_mask(term->network, length);
	return true;
}

/* What stands behind the mechanism's name: ":domain", "/length", both or nothing. */
static bool parse_arguments(struct span span, struct spf_term *term)
{
	const struct mechanism_row *row = &rows[term->mechanism];
	bool colon = span.len && span.text[0] == ':';

	if (row->needs_argument && !colon)
		return false;
	if (!row->takes_domain && !row->needs_argument)
		return !span.len;
	if (!row->takes_domain)
		return parse_network(
		    span_from(span, 1), term->mechanism == SPF_IP6, term);
	if (!colon)
		return row->takes_lengths ? parse_lengths(span, term) : !span.len;

	span = span_from(span, 1);
	if (memchr(span.text, '%', span.len)) {
		term->macro = true;
		return macros_are_good(span);
	}
	size_t n = row->takes_lengths ? span_until(span, "/") : span.len;
	return parse_domain((struct span){span.text, n}, term->domain) &&
	       parse_lengths(span_from(span, n), term);
}

/* ---- terms ---- */

static bool is_modifier(struct span span)
{
	size_t n = span_until(span, "=:/%");

	if (n == span.len || span.text[n] != '=' || !n || !is_letter(span.text[0]))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!is_letter(span.text[i]) && !is_digit(span.text[i]) &&
		    !strchr("-_.", span.text[i]))
			return false;
	return true;
}

/* Returns NULL or what is wrong. */
static const char *add_modifier(
    struct spf_record *record, struct span span, bool *has_exp)
{
	size_t n = span_until(span, "=");
	struct span name = {span.text, n}, value = span_from(span, n + 1);

	if (!macros_are_good(value))
		return "a malformed macro";
	if (span_is(name, "exp")) {
		const char *error = *has_exp    ? "exp= twice"
				    : value.len ? NULL
						: "an empty exp=";
		*has_exp = true;
		return error;
	}
	if (!span_is(name, "redirect"))
		return NULL; /* RFC 7208, 6: unknown modifiers are ignored */
	if (record->has_redirect)
		return "redirect= twice";
	record->has_redirect = true;
	record->redirect_macro = memchr(value.text, '%', value.len) != NULL;
	return record->redirect_macro || parse_domain(value, record->redirect)
		   ? NULL
		   : "not a domain";
}

static const char *parse_mechanism(struct span span, struct spf_term *ret)
{
	*ret = (struct spf_term){.qualifier = '+', .length4 = 32, .length6 = 128};
	if (strchr("+-~?", span.text[0])) {
		ret->qualifier = span.text[0];
		span = span_from(span, 1);
	}
	size_t n = span_until(span, ":/");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (!span_is((struct span){span.text, n}, rows[i].name))
			continue;
		ret->mechanism = (enum spf_mechanism)i;
		return parse_arguments(span_from(span, n), ret) ? NULL : "malformed";
	}
	return "not a mechanism";
}

/* The terms of a record: all are checked, those behind `all` are not kept. */
struct parsing {
	struct spf_record *record;
	uint32_t capacity;
	bool has_all, has_exp;
};

static int add_term(struct parsing *parsing, struct span span, const char **ret_wrong)
{
	struct spf_record *record = parsing->record;
	struct spf_term term;

	if (is_modifier(span)) {
		*ret_wrong = add_modifier(record, span, &parsing->has_exp);
		return *ret_wrong ? -EINVAL : 0;
	}
	*ret_wrong = parse_mechanism(span, &term);
	if (*ret_wrong)
		return -EINVAL;
	if (parsing->has_all)
		return 0;
	parsing->has_all = term.mechanism == SPF_ALL;
	void *terms = record->terms;
	int r = list_grow(&terms, &parsing->capacity, record->count + 1, sizeof(term));
	record->terms = terms;
	if (r == 0)
		record->terms[record->count++] = term;
	return r;
}

bool spf_is_record(const char *text, size_t len)
{
	return len >= VERSION_LEN && strncasecmp(text, VERSION, VERSION_LEN) == 0 &&
	       (len == VERSION_LEN || text[VERSION_LEN] == ' ');
}

int spf_record_parse(
    const char *text, size_t len, struct spf_record *ret, char errbuf[static ERRBUF_SIZE])
{
	struct parsing parsing = {.record = ret};
	struct span rest = {text + VERSION_LEN, len - VERSION_LEN};
	const char *wrong = NULL;
	int r = 0;

	*ret = (struct spf_record){0};
	for (size_t i = 0; i < rest.len; i++) {
		if (rest.text[i] < ' ' || rest.text[i] > '~') {
			snprintf(errbuf, ERRBUF_SIZE, "a byte that is not printable");
			return -EINVAL;
		}
	}
	while (r == 0 && rest.len) {
		size_t n = span_until(rest, " ");
		if (n)
			r = add_term(&parsing, (struct span){rest.text, n}, &wrong);
		if (r == -EINVAL)
			snprintf(
			    errbuf, ERRBUF_SIZE, "%s: \"%.*s\"", wrong,
			    n > 80 ? 80 : (int)n, rest.text);
		rest = span_from(rest, n < rest.len ? n + 1 : n);
	}
	if (parsing.has_all)
		ret->has_redirect = false;
	return r;
}

void spf_record_done(struct spf_record *record)
{
	free(record->terms);
	*record = (struct spf_record){0};
}
