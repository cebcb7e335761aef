/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/config_options.h"

#include "common/config_values.h"

#include <stdio.h>
#include <string.h>

/* The part of a child's path behind its parent's, or NULL when it is not below it. */
static const char *below(size_t parent, size_t row)
{
	const char *path = config_options[row].path;
	if (parent == SIZE_MAX)
		return path;
	size_t len = strlen(config_options[parent].path);
	if (strncmp(path, config_options[parent].path, len) != 0)
		return NULL;
	return path[len] == '.' ? path + len + 1 : path[len] == '[' ? path + len : NULL;
}

size_t config_option_next_child(size_t parent, size_t after)
{
	size_t row = after != SIZE_MAX ? after + 1 : parent == SIZE_MAX ? 0 : parent + 1;
	for (; row < config_options_count; row++) {
		const char *rest = below(parent, row);
		if (!rest)
			break;
		if (!strpbrk(rest, ".[") || strcmp(rest, "[]") == 0)
			return row;
	}
	return SIZE_MAX;
}

size_t config_option_child(size_t parent, const char *key, size_t key_len)
{
	for (size_t row = config_option_next_child(parent, SIZE_MAX); row != SIZE_MAX;
	     row = config_option_next_child(parent, row)) {
		const char *name = config_option_name(&config_options[row]);
		if (strlen(name) == key_len && memcmp(name, key, key_len) == 0)
			return row;
	}
	return SIZE_MAX;
}

size_t config_option_find(const char *path)
{
	for (size_t row = 0; row < config_options_count; row++)
		if (strcmp(config_options[row].path, path) == 0)
			return row;
	return SIZE_MAX;
}

const char *config_option_name(const struct config_option *option)
{
	const char *dot = strrchr(option->path, '.');
	return dot ? dot + 1 : option->path;
}

bool config_option_is_in_item(const struct config_option *option)
{
	return strpbrk(option->path, "*[") != NULL;
}

static const char *choices_text(
    const struct config_option *option, const char *lead, char *buf, size_t size)
{
	int used = snprintf(buf, size, "%s", lead);
	const char *comma = "";
	for (const struct option_choice *c = option->choices; c->name; c++) {
		if (used < 0 || (size_t)used >= size)
			break;
		used +=
		    snprintf(buf + used, size - (size_t)used, "%s\"%s\"", comma, c->name);
		comma = ", ";
	}
	return buf;
}

const char *config_option_expects(
    const struct config_option *option, char *buf, size_t size)
{
	char low[32], high[32];

	switch (option->type) {
	case OPTION_SECTION:
	case OPTION_DOMAINS:
	case OPTION_KEYS:
		return "an object { ... }";
	case OPTION_INCLUDE:
		return "an array of file names and patterns";
	case OPTION_BOOL:
	case OPTION_TERNARY:
		return "true or false";
	case OPTION_COUNT:
		snprintf(
		    buf, size, "a whole number from %llu to %llu",
		    (unsigned long long)option->min, (unsigned long long)option->max);
		return buf;
	case OPTION_AMOUNT:
		return "a whole number, or a size such as \"25M\"";
	case OPTION_TIME:
		snprintf(
		    buf, size, "a time with its unit from \"%s\" to \"%s\"",
		    time_print(option->min * 1000, low),
		    time_print(option->max * 1000, high));
		return buf;
	case OPTION_TIME_MS:
		snprintf(
		    buf, size, "a time with its unit from \"%s\" to \"%s\"",
		    time_print(option->min, low), time_print(option->max, high));
		return buf;
	case OPTION_CHOICE:
		return choices_text(option, "one of ", buf, size);
	case OPTION_CHOICES:
		return choices_text(option, "one or an array of ", buf, size);
	case OPTION_OVER:
		return choices_text(
		    option, "\"filter:TRANSPORT:NEXTHOP\" or one of ", buf, size);
	case OPTION_TEXT:
		return "a string";
	case OPTION_DOMAIN:
		return "a domain name";
	case OPTION_PATH:
		return "a file name";
	case OPTION_ENDPOINT:
		return "an address: unix:PATH, HOST:PORT or [V6]:PORT";
	case OPTION_ENDPOINTS:
		return "an array of addresses: unix:PATH, HOST:PORT or [V6]:PORT";
	case OPTION_MODE:
		return "an octal mode in quotes, such as \"0660\"";
	case OPTION_PORTS:
		return "an array of ports from 1 to 65535";
	case OPTION_STRINGS:
		if (option->choices)
			return choices_text(option, "an array of ", buf, size);
		return "an array of strings";
	case OPTION_NAMES:
		return "an array of key names";
	case OPTION_HOSTS:
		return "an array of hosts, each a string";
	case OPTION_ADDRESSES:
		return "an array of mail addresses and domains, each a string";
	case OPTION_USERS:
		return "an array of SASL user names and @realms, each a string";
	case OPTION_RELAY_HOSTS:
		return "an array of hosts, each a string or an object";
	case OPTION_RELAY_USERS:
		return "true, false or an array of SASL user names and @realms";
	case OPTION_SENDER_LOGINS:
		return "an array of strings \"sender user[,user]\"";
	case OPTION_LIMITS:
		return "an array of objects";
	case OPTION_MAXIMA:
		return "an object of names, each with a whole number, a size or null";
	case OPTION_TYPE_COUNT:
		break;
	}
	return "something else";
}
