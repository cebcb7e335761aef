/* SPDX-License-Identifier: BSD-2-Clause */
#include "milter/mask.h"

#include "common/ip.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define BY_MAX   253
#define WITH_MAX 32
#define ID_MAX   128

/* A shorter client word would strike out words that only happen to contain it. */
#define CLIENT_WORD_MIN 3

static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
				     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

struct span {
	const char *at;
	size_t len;
};

static bool is_alpha(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Everything up to a blank: also what no header may contain, so that it ends a word. */
static bool is_blank(char c)
{
	return (unsigned char)c <= ' ' || c == 0x7f;
}

static bool span_is(struct span span, const char *word)
{
	return span.len == strlen(word) && strncasecmp(span.at, word, span.len) == 0;
}

/* True when @span consists of letters, digits and @others, 1 to @max of them. */
static bool span_has_only(struct span span, const char *others, size_t max)
{
	if (span.len == 0 || span.len > max)
		return false;
	for (size_t i = 0; i < span.len; i++) {
		char c = span.at[i];
		if (!is_alpha(c) && !is_digit(c) && !(c && strchr(others, c)))
			return false;
	}
	return true;
}

/* @word: an address literal counts without its brackets. */
static bool span_contains(struct span span, const char *word)
{
	size_t len = word ? strlen(word) : 0;
	if (len > 2 && word[0] == '[' && word[len - 1] == ']') {
		word++;
		len -= 2;
	}
	if (len < CLIENT_WORD_MIN)
		return false;
	for (size_t i = 0; i + len <= span.len; i++) {
		if (strncasecmp(span.at + i, word, len) == 0)
			return true;
	}
	return false;
}

static bool shows_client(struct span span, const struct mask_client *client)
{
	struct ip ip;
	return ip_parse(span.at, span.len, &ip) || span_contains(span, client->address) ||
	       span_contains(span, client->login) || span_contains(span, client->name) ||
	       span_contains(span, client->helo);
}

/*
 * A host name: one letter at least, so that no IPv4 address passes in any spelling
 * (decimal, with leading zeros), and no colon for IPv6.
 */
static bool is_hostname(struct span span)
{
	bool letter = false;
	if (!span_has_only(span, ".-_", BY_MAX))
		return false;
	for (size_t i = 0; i < span.len; i++)
		letter = letter || is_alpha(span.at[i]);
	/* "0x7f000001" has letters, and some programs read it as an address. */
	return letter && !(span.len > 1 && span.at[0] == '0' && (span.at[1] | 32) == 'x');
}

/* ---- reading ---- */

/* Skips a comment, nested ones and quoted pairs in it. At the end: it was not closed. */
static const char *skip_comment(const char *at, const char *end)
{
	size_t depth = 0;
	for (; at < end; at++) {
		if (*at == '\\' && at + 1 < end)
			at++;
		else if (*at == '(')
			depth++;
		else if (*at == ')' && --depth == 0)
			return at + 1;
	}
	return end;
}

static const char *skip_quoted(const char *at, const char *end)
{
	for (at++; at < end; at++) {
		if (*at == '\\' && at + 1 < end)
			at++;
		else if (*at == '"')
			return at + 1;
	}
	return end;
}

/*
 * The next word before a semicolon, comments skipped. False: there is none; *at is then
 * on the semicolon or the end.
 */
static bool next_word(const char **at, const char *end, struct span *ret)
{
	for (;;) {
		while (*at < end && is_blank(**at))
			++*at;
		if (*at >= end || **at == ';')
			return false;
		if (**at != '(')
			break;
		*at = skip_comment(*at, end);
	}
	ret->at = *at;
	while (*at < end && !is_blank(**at) && **at != ';' && **at != '(') {
		if (**at == '"')
			*at = skip_quoted(*at, end);
		else
			++*at;
	}
	ret->len = (size_t)(*at - ret->at);
	return true;
}

struct hop_words {
	struct span by, with, id;
	const char *date; /* after the semicolon, or NULL */
};

/*
 * Each keyword takes the word after it, so that a HELO of "by" (as in "from by ...") is
 * not taken for the keyword. The first of its kind counts.
 */
static void read_words(const char *value, size_t len, struct hop_words *ret)
{
	static const char *const skipped[] = {"from", "for", "via"};
	const char *at = value;
	const char *end = value + len;
	struct span word, argument;
	*ret = (struct hop_words){0};

	while (next_word(&at, end, &word)) {
		struct span *to = span_is(word, "by")     ? &ret->by
				  : span_is(word, "with") ? &ret->with
				  : span_is(word, "id")   ? &ret->id
							  : NULL;
		bool keyword = to != NULL;
		for (size_t i = 0; i < sizeof(skipped) / sizeof(skipped[0]); i++)
			keyword = keyword || span_is(word, skipped[i]);
		if (!keyword || !next_word(&at, end, &argument))
			continue;
		if (to && to->len == 0)
			*to = argument;
	}
	if (at < end)
		ret->date = at + 1;
}

static bool read_number(struct span span, size_t digits_min, size_t digits_max, int *ret)
{
	if (span.len < digits_min || span.len > digits_max)
		return false;
	*ret = 0;
	for (size_t i = 0; i < span.len; i++) {
		if (!is_digit(span.at[i]))
			return false;
		*ret = *ret * 10 + (span.at[i] - '0');
	}
	return true;
}

static int find_name(struct span span, const char *const *names, int count)
{
	for (int i = 0; i < count; i++) {
		if (span_is(span, names[i]))
			return i;
	}
	return -1;
}

struct date {
	int weekday; /* -1: not given */
	int day, month, year, hour, minute, second, zone;
};

/* HH:MM[:SS] */
static bool read_time(struct span span, struct date *date)
{
	date->second = 0;
	if (span.len != 5 && span.len != 8)
		return false;
	if (span.at[2] != ':' || (span.len == 8 && span.at[5] != ':'))
		return false;
	if (!read_number((struct span){span.at, 2}, 2, 2, &date->hour) ||
	    !read_number((struct span){span.at + 3, 2}, 2, 2, &date->minute))
		return false;
	if (span.len == 8 &&
	    !read_number((struct span){span.at + 6, 2}, 2, 2, &date->second))
		return false;
	/* 60: a leap second */
	return date->hour < 24 && date->minute < 60 && date->second <= 60;
}

/* +HHMM; the names of RFC 5322, 4.3 that are plain UTC. */
static bool read_zone(struct span span, struct date *date)
{
	date->zone = 0;
	if (span_is(span, "GMT") || span_is(span, "UT") || span_is(span, "UTC") ||
	    span_is(span, "Z"))
		return true;
	if (span.len != 5 || (span.at[0] != '+' && span.at[0] != '-') ||
	    !read_number((struct span){span.at + 1, 4}, 4, 4, &date->zone))
		return false;
	if (date->zone % 100 >= 60 || date->zone >= 1500)
		return false;
	if (span.at[0] == '-')
		date->zone = -date->zone;
	return true;
}

/* date-time of RFC 5322, 3.3, comments allowed between and after. */
static bool read_date(const char *at, const char *end, struct date *ret)
{
	struct span word;
	if (!next_word(&at, end, &word))
		return false;
	ret->weekday = -1;
	if (is_alpha(word.at[0])) {
		if (word.at[word.len - 1] == ',')
			word.len--;
		ret->weekday = find_name(word, days, 7);
		if (ret->weekday < 0 || !next_word(&at, end, &word))
			return false;
		if (span_is(word, ",") && !next_word(&at, end, &word))
			return false;
	}
	if (!read_number(word, 1, 2, &ret->day) || ret->day < 1 || ret->day > 31)
		return false;
	if (!next_word(&at, end, &word) || (ret->month = find_name(word, months, 12)) < 0)
		return false;
	if (!next_word(&at, end, &word) || !read_number(word, 4, 4, &ret->year))
		return false;
	if (!next_word(&at, end, &word) || !read_time(word, ret))
		return false;
	if (!next_word(&at, end, &word) || !read_zone(word, ret))
		return false;
	return !next_word(&at, end, &word) && at == end;
}

/* ---- writing ---- */

static void print_date(const struct date *date, char ret[static MASK_DATE_MAX])
{
	int zone = date->zone < 0 ? -date->zone : date->zone;
	snprintf(
	    ret, MASK_DATE_MAX, "%s%s%d %s %04d %02d:%02d:%02d %c%04d",
	    date->weekday < 0 ? "" : days[date->weekday], date->weekday < 0 ? "" : ", ",
	    date->day % 100, months[date->month], date->year % 10000, date->hour % 100,
	    date->minute % 100, date->second % 100, date->zone < 0 ? '-' : '+',
	    zone % 10000);
}

void mask_date(time_t time, char ret[static MASK_DATE_MAX])
{
	struct tm tm;
	if (!localtime_r(&time, &tm))
		memset(&tm, 0, sizeof(tm));
	int minutes = (int)(tm.tm_gmtoff / 60);
	struct date date = {
	    .weekday = tm.tm_wday,
	    .day = tm.tm_mday,
	    .month = tm.tm_mon,
	    .year = tm.tm_year + 1900,
	    .hour = tm.tm_hour,
	    .minute = tm.tm_min,
	    .second = tm.tm_sec,
	    .zone = minutes / 60 * 100 + minutes % 60,
	};
	print_date(&date, ret);
}

const char *mask_protocol(const struct mask_hop *hop)
{
	/* SMTPUTF8, STARTTLS and AUTH all need EHLO. */
	if (hop->smtputf8) {
		if (hop->tls)
			return hop->authenticated ? "UTF8SMTPSA" : "UTF8SMTPS";
		return hop->authenticated ? "UTF8SMTPA" : "UTF8SMTP";
	}
	if (hop->tls)
		return hop->authenticated ? "ESMTPSA" : "ESMTPS";
	if (hop->authenticated)
		return "ESMTPA";
	return hop->esmtp ? "ESMTP" : "SMTP";
}

void mask_own(const struct mask_hop *hop, char ret[static MASK_VALUE_MAX])
{
	char date[MASK_DATE_MAX];
	struct span by = {hop->hostname, hop->hostname ? strlen(hop->hostname) : 0};
	struct span id = {hop->queue_id, hop->queue_id ? strlen(hop->queue_id) : 0};
	mask_date(hop->time, date);
	bool has_id = span_has_only(id, "-_.", ID_MAX);
	bool has_by = is_hostname(by);
	bool has_token = hop->token && hop->token[0] != '\0';
	snprintf(
	    ret, MASK_VALUE_MAX, " \n\tby %.*s (Postfix) with %s%s%.*s%s%s%s;\n\t%s",
	    has_by ? (int)by.len : 7, has_by ? by.at : "unknown", mask_protocol(hop),
	    has_id ? " id " : "", has_id ? (int)id.len : 0, has_id ? id.at : "",
	    has_token ? "\n\t(Postern t=" : "", has_token ? hop->token : "",
	    has_token ? ")" : "", date);
}

void mask_upstream(
    const char *value, size_t len, const struct mask_client *client,
    const struct mask_hop *hop, char ret[static MASK_VALUE_MAX])
{
	struct hop_words words;
	struct date date;
	char date_text[MASK_DATE_MAX];
	read_words(value, len, &words);

	if (!is_hostname(words.by) || shows_client(words.by, client))
		words.by = (struct span){"unknown", 7};
	if (!span_has_only(words.with, "-_", WITH_MAX) ||
	    shows_client(words.with, client))
		words.with.len = 0;
	if (!span_has_only(words.id, "-_.+=/", ID_MAX) || shows_client(words.id, client))
		words.id.len = 0;
	if (words.date && read_date(words.date, value + len, &date))
		print_date(&date, date_text);
	else
		mask_date(hop->time, date_text);

	snprintf(
	    ret, MASK_VALUE_MAX, " by %.*s%s%.*s%s%.*s;\n\t%s", (int)words.by.len,
	    words.by.at, words.with.len ? " with " : "", (int)words.with.len,
	    words.with.len ? words.with.at : "", words.id.len ? " id " : "",
	    (int)words.id.len, words.id.len ? words.id.at : "", date_text);
}
