/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/name_file.h"

#include "common/cleanup.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A thousand names with the most networks would not fit, and are a mistake. */
#define FILE_MAX_BYTES (32 * 1024 * 1024)

#define VERSION 1

/* "ffff...-ffff...", each 32 digits: numbers of either family. */
#define RANGE_TEXT_LEN 65

static void json_freep(json_t **json)
{
	json_decref(*json);
}

static void string_freep(char **string)
{
	free(*string);
}

/* ---- loading ---- */

static bool parse_number(const char *text, ip_number *ret)
{
	uint64_t high, low;

	if (strspn(text, "0123456789abcdef") < 32 ||
	    sscanf(text, "%16" SCNx64 "%16" SCNx64, &high, &low) != 2)
		return false;
	*ret = (ip_number)high << 64 | low;
	return true;
}

static bool parse_range(const char *text, ip_number most, struct ip_range *ret)
{
	return text && strlen(text) == RANGE_TEXT_LEN && text[32] == '-' &&
	       parse_number(text, &ret->first) && parse_number(text + 33, &ret->last) &&
	       ret->first <= ret->last && ret->last <= most;
}

/* Sorted and apart, as a set wants them. False: it is none, or no memory. */
static bool parse_set(const json_t *list, ip_number most, struct ip_set *ret)
{
	size_t count = json_array_size(list);

	if (!json_is_array(list) || count > NAME_NETWORKS_MAX)
		return false;
	ret->ranges = calloc(count + 1, sizeof(*ret->ranges));
	if (!ret->ranges)
		return false;
	for (; ret->count < count; ret->count++) {
		struct ip_range *range = &ret->ranges[ret->count];
		if (!parse_range(
			json_string_value(json_array_get(list, ret->count)), most,
			range) ||
		    (ret->count > 0 && range->first <= range[-1].last))
			return false;
	}
	return true;
}

static bool parse_entry(
    json_t *entry, const char **ret_text, json_int_t *ret_good_s,
    struct name_networks *ret)
{
	return json_unpack(entry, "{s:s, s:I}", "name", ret_text, "good", ret_good_s) ==
		   0 &&
	       *ret_good_s >= 0 &&
	       parse_set(json_object_get(entry, "v4"), UINT32_MAX, &ret->v4) &&
	       parse_set(json_object_get(entry, "v6"), ip_number_hosts(128), &ret->v6);
}

static void give(
    struct name *name, struct name_networks *networks, int64_t age_ms, int64_t now_ms)
{
	name->networks = *networks;
	*networks = (struct name_networks){0};
	name->resolved = name->changed = true;
	name->good_ms = now_ms - age_ms;
}

static bool take_entry(
    json_t *entry, struct name *const *names, size_t count,
    const struct name_times *times, int64_t now_ms, int64_t calendar_s)
{
	CLEANUP(name_networks_done) struct name_networks networks = {0};
	const char *text;
	json_int_t good_s;

	if (!parse_entry(entry, &text, &good_s, &networks))
		return false;
	/* A clock that was put back: it was good now at the latest. */
	int64_t age_ms = good_s > calendar_s ? 0 : (calendar_s - good_s) * 1000;
	for (size_t i = 0; i < count; i++)
		if (strcmp(names[i]->text, text) == 0 && !names[i]->resolved &&
		    age_ms < times->age_ms)
			give(names[i], &networks, age_ms, now_ms);
	return true;
}

int name_file_load(
    const char *path, struct name *const *names, size_t count,
    const struct name_times *times, int64_t now_ms, int64_t calendar_s,
    char errbuf[static STATE_FILE_ERROR_MAX])
{
	CLEANUP(string_freep) char *text = NULL;
	CLEANUP(json_freep) json_t *root = NULL;
	json_error_t error;
	size_t len = 0, i;
	json_t *entry;
	int version;

	int r = state_file_read(path, FILE_MAX_BYTES, &text, &len, errbuf);
	if (r != 0)
		return r < 0 ? -1 : 0;
	root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	if (!root)
		return state_file_complain(
		    path, errbuf, "is broken: line %d: %s", error.line, error.text);
	json_t *list = json_object_get(root, "names");
	if (json_unpack(root, "{s:i}", "version", &version) < 0 || version != VERSION ||
	    !json_is_array(list))
		return state_file_complain(
		    path, errbuf, "is broken: no list of names, or not version %d",
		    VERSION);
	/* Twice: half a broken file is not to be believed either. */
	for (int round = 0; round < 2; round++) {
		size_t wanted = round == 0 ? 0 : count;
		json_array_foreach(list, i, entry)
		{
			if (!take_entry(entry, names, wanted, times, now_ms, calendar_s))
				return state_file_complain(
				    path, errbuf, "is broken: name %zu is not understood",
				    i);
		}
	}
	return 0;
}

/* ---- saving ---- */

static json_t *print_set(const struct ip_set *set)
{
	json_t *list = json_array();
	char text[RANGE_TEXT_LEN + 1];

	for (size_t i = 0; i < set->count; i++) {
		const struct ip_range *range = &set->ranges[i];
		snprintf(
		    text, sizeof(text),
		    "%016" PRIx64 "%016" PRIx64 "-%016" PRIx64 "%016" PRIx64,
		    (uint64_t)(range->first >> 64), (uint64_t)range->first,
		    (uint64_t)(range->last >> 64), (uint64_t)range->last);
		if (json_array_append_new(list, json_string(text)) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

int name_file_save(
    const char *path, struct name *const *names, size_t count, int64_t now_ms,
    int64_t calendar_s, char errbuf[static STATE_FILE_ERROR_MAX])
{
	json_t *list = json_array();
	CLEANUP(json_freep)
	json_t *root = json_pack("{s:i, s:o}", "version", VERSION, "names", list);
	CLEANUP(string_freep) char *text = NULL;
	bool good = root != NULL;

	for (size_t i = 0; i < count && good; i++) {
		const struct name *name = names[i];
		int64_t good_s = calendar_s - (now_ms - name->good_ms) / 1000;
		if (!name->resolved)
			continue;
		good = json_array_append_new(
			   list, json_pack(
				     "{s:s, s:I, s:o, s:o}", "name", name->text, "good",
				     (json_int_t)(good_s > 0 ? good_s : 0), "v4",
				     print_set(&name->networks.v4), "v6",
				     print_set(&name->networks.v6))) == 0;
	}
	if (good)
		text = json_dumps(root, JSON_INDENT(1));
	if (!text)
		return state_file_complain(
		    path, errbuf, "cannot be written: out of memory");
	return state_file_write(path, text, errbuf);
}
