/* SPDX-License-Identifier: BSD-2-Clause */
#include "milter/gate_file.h"

#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

static void fd_closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

__attribute__((format(printf, 3, 4))) static int complain(
    const char *path, char *buf, const char *format, ...)
{
	char text[GATE_FILE_ERROR_MAX];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	snprintf(buf, GATE_FILE_ERROR_MAX, "%.250s %.140s", path, text);
	return -1;
}

/* ---- loading ---- */

/* 0 and the text, 1: there is no such file, -1 after a complaint. */
static int read_whole(const char *path, char **ret, size_t *ret_len, char *errbuf)
{
	struct stat st;
	/* Without O_NONBLOCK a FIFO would hold the start for ever. */
	CLEANUP(fd_closep)
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT)
		return 1;
	if (fd < 0 || fstat(fd, &st) < 0)
		return complain(path, errbuf, "cannot be read: %s", strerror(errno));
	if (!S_ISREG(st.st_mode))
		return complain(path, errbuf, "is no regular file");
	if (st.st_size > FILE_MAX_BYTES)
		return complain(
		    path, errbuf, "is too large (%lld bytes)", (long long)st.st_size);
	CLEANUP(string_freep) char *text = malloc((size_t)st.st_size + 1);
	size_t len = 0;
	if (!text)
		return complain(path, errbuf, "cannot be read: out of memory");
	while (len < (size_t)st.st_size) {
		ssize_t n = read(fd, text + len, (size_t)st.st_size - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return complain(
			    path, errbuf, "cannot be read: %s", strerror(errno));
		if (n == 0)
			break;
		len += (size_t)n;
	}
	*ret = TAKE(text);
	*ret_len = len;
	return 0;
}

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
			return complain(
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

	int r = read_whole(path, &text, &len, errbuf);
	if (r != 0)
		return r < 0 ? -1 : 0;
	root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	if (!root)
		return complain(
		    path, errbuf, "is broken: line %d: %s", error.line, error.text);
	if (json_unpack(root, "{s:i}", "version", &version) < 0 || version != VERSION)
		return complain(
		    path, errbuf, "is broken: its version is not %d", VERSION);
	json_t *records = json_object_get(root, "records");
	if (!json_is_array(records))
		return complain(path, errbuf, "is broken: it has no list of records");
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

static int write_all(int fd, const char *text)
{
	size_t len = strlen(text);
	while (len) {
		ssize_t n = write(fd, text, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		text += n;
		len -= (size_t)n;
	}
	return fsync(fd);
}

/* The new name has to be on the disk too. */
static void sync_folder(const char *path)
{
	CLEANUP(string_freep) char *folder = strdup(path);
	char *slash = folder ? strrchr(folder, '/') : NULL;
	if (!slash)
		return;
	slash[slash == folder ? 1 : 0] = '\0';
	CLEANUP(fd_closep) int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		fsync(fd);
}

int gate_file_save(
    const char *path, const struct gate_view *view,
    char errbuf[static GATE_FILE_ERROR_MAX])
{
	CLEANUP(string_freep) char *text = print(view);
	CLEANUP(string_freep) char *draft = NULL;
	if (!text || asprintf(&draft, "%s.new", path) < 0) {
		draft = NULL;
		return complain(path, errbuf, "cannot be written: out of memory");
	}
	/* What a death left behind; O_EXCL then follows nobody's link. */
	unlink(draft);
	CLEANUP(fd_closep)
	int fd = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || write_all(fd, text) < 0 || rename(draft, path) < 0) {
		int code = errno;
		if (fd >= 0)
			unlink(draft);
		return complain(path, errbuf, "cannot be written: %s", strerror(code));
	}
	sync_folder(path);
	return 0;
}
