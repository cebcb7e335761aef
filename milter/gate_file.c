/* SPDX-License-Identifier: BSD-2-Clause */
#include "milter/gate_file.h"

#include "common/cleanup.h"

#include <jansson.h>
#include <stdlib.h>

/* 200 bytes a record: more than a hundred thousand of them. */
#define FILE_MAX_BYTES (32 * 1024 * 1024)

#define VERSION 1

static void json_freep(json_t **json)
{
	json_decref(*json);
}

static void string_freep(char **string)
{
	free(*string);
}

/* ---- loading ---- */

/* True when the entry is one; @ret_pair is NULL when nobody asks for that record. */
static bool read_entry(
    json_t *entry, const struct gate_view *view, struct gate_pair **ret_pair,
    struct gate_seen *ret)
{
	const char *record, *fingerprint, *state;
	json_int_t since;
	if (json_unpack(
		entry, "{s:s, s:s, s:s, s:I}", "record", &record, "fingerprint",
		&fingerprint, "state", &state, "since", &since) < 0 ||
	    since < 0 || !gate_state_parse(state, &ret->state))
		return false;
	ret->since_s = since;
	*ret_pair = gate_view_find(view, record, fingerprint);
	return true;
}

static int take_entries(
    json_t *records, struct gate_view *view, int64_t now_s, const char *path,
    char *errbuf)
{
	struct gate_pair *pair;
	struct gate_seen seen;
	size_t i;
	json_t *entry;

	/* Twice: half a broken file is not to be believed either. */
	json_array_foreach(records, i, entry)
	{
		if (!read_entry(entry, view, &pair, &seen))
			return state_file_complain(
			    path, errbuf, "is broken: record %zu is not understood", i);
	}
	json_array_foreach(records, i, entry)
	{
		if (!read_entry(entry, view, &pair, &seen) || !pair)
			continue;
		/* A clock that was put back. */
		if (seen.since_s > now_s)
			seen.since_s = now_s;
		pair->state.seen = seen;
	}
	return 0;
}

int gate_file_load(
    const char *path, struct gate_view *view, int64_t now_s,
    char errbuf[static GATE_FILE_ERROR_MAX])
{
	CLEANUP(string_freep) char *text = NULL;
	CLEANUP(json_freep) json_t *root = NULL;
	json_error_t error;
	size_t len = 0;
	int version;

	int r = state_file_read(path, FILE_MAX_BYTES, &text, &len, errbuf);
	if (r != 0)
		return r < 0 ? -1 : 0;
	root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	if (!root)
		return state_file_complain(
		    path, errbuf, "is broken: line %d: %s", error.line, error.text);
	if (json_unpack(root, "{s:i}", "version", &version) < 0 || version != VERSION)
		return state_file_complain(
		    path, errbuf, "is broken: its version is not %d", VERSION);
	json_t *records = json_object_get(root, "records");
	if (!json_is_array(records))
		return state_file_complain(
		    path, errbuf, "is broken: it has no list of records");
	return take_entries(records, view, now_s, path, errbuf);
}

/* ---- saving ---- */

static json_t *entry_of(const struct gate_pair *pair)
{
	return json_pack(
	    "{s:s, s:s, s:s, s:s, s:I}", "key", pair->key->name, "record", pair->record,
	    "fingerprint", pair->fingerprint, "state",
	    gate_state_name(pair->state.seen.state), "since",
	    (json_int_t)pair->state.seen.since_s);
}

static char *print(const struct gate_view *view)
{
	json_t *records = json_array();
	CLEANUP(json_freep)
	json_t *root = json_pack("{s:i, s:o}", "version", VERSION, "records", records);
	if (!root)
		return NULL;
	for (size_t i = 0; i < view->pairs_count; i++) {
		const struct gate_pair *pair = &view->pairs[i];
		if (pair->state.seen.state != GATE_PUBLISHED &&
		    pair->state.seen.state != GATE_UNPUBLISHED)
			continue;
		if (json_array_append_new(records, entry_of(pair)) < 0)
			return NULL;
	}
	return json_dumps(root, JSON_INDENT(1));
}

int gate_file_save(
    const char *path, const struct gate_view *view,
    char errbuf[static GATE_FILE_ERROR_MAX])
{
	CLEANUP(string_freep) char *text = print(view);
	if (!text)
		return state_file_complain(
		    path, errbuf, "cannot be written: out of memory");
	return state_file_write(path, text, errbuf);
}
