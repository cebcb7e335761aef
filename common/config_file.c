/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/config_build.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Why open() failed, in words. */
static void say_why(const char *path, int error, char errbuf[static 256])
{
	struct stat st;
	char target[128];

	if (error == ENOENT && lstat(path, &st) == 0 && S_ISLNK(st.st_mode)) {
		ssize_t n = readlink(path, target, sizeof(target) - 1);
		target[n < 0 ? 0 : n] = '\0';
		snprintf(
		    errbuf, 256, "is a symbolic link to \"%s\", which does not exist",
		    target);
	} else if (error == ENXIO) {
		snprintf(errbuf, 256, "is a socket or device, expected a regular file");
	} else {
		snprintf(errbuf, 256, "cannot be opened: %s", strerror(error));
	}
}

static const char *kind_of(mode_t mode)
{
	if (S_ISDIR(mode))
		return "is a directory";
	if (S_ISFIFO(mode))
		return "is a FIFO";
	if (S_ISCHR(mode) || S_ISBLK(mode))
		return "is a device";
	return "is no file";
}

int config_file_open(const char *path, char errbuf[static 256])
{
	struct stat st;
	/* Non-blocking: a FIFO without a writer must not hold us up. */
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (fd < 0) {
		say_why(path, errno, errbuf);
		return -1;
	}
	if (fstat(fd, &st) < 0) {
		snprintf(errbuf, 256, "cannot be looked at: %s", strerror(errno));
		close(fd);
		return -1;
	}
	if (!S_ISREG(st.st_mode)) {
		snprintf(errbuf, 256, "%s, expected a regular file", kind_of(st.st_mode));
		close(fd);
		return -1;
	}
	return fd;
}

/* The whole of @fd, NUL-terminated. NULL: a sentence in @errbuf, or "" without memory. */
static char *read_whole(int fd, size_t *ret_len, char errbuf[static 256])
{
	struct stat st;
	size_t used = 0, room = 4096;
	char *bytes = NULL;

	errbuf[0] = '\0';
	if (fstat(fd, &st) == 0 && st.st_size > 0)
		room = (size_t)st.st_size;
	for (;;) {
		if (room > CONFIG_FILE_MAX) {
			snprintf(
			    errbuf, 256,
			    "is larger than %lu MB, expected long lists in files of "
			    "their own (\"file:PATH\")",
			    CONFIG_FILE_MAX >> 20);
			break;
		}
		/* Two bytes more: the NUL, and one to see that the file ends here. */
		char *more = realloc(bytes, room + 2);
		if (!more)
			break;
		bytes = more;
		ssize_t n = read(fd, bytes + used, room + 1 - used);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			snprintf(errbuf, 256, "cannot be read: %s", strerror(errno));
			break;
		}
		used += (size_t)n;
		if (n == 0) {
			bytes[used] = '\0';
			*ret_len = used;
			return bytes;
		}
		if (used > room)
			room *= 2;
	}
	free(bytes);
	return NULL;
}

/* At the include's place, or of the main file. */
static void file_error(
    struct config_build *build, const struct config_file *file,
    const struct config_value *by, const char *text)
{
	char shown[128];
	if (by && !by->file->text.root)
		by = NULL;
	if (by)
		config_error(
		    build, by, "%s: %s",
		    config_shown(file->name, strlen(file->name), shown), text);
	else
		config_error_at(
		    build, (struct where){.file = file->name}, NULL, "%s", text);
}

/* Every repeated key below @value, wherever it stands. */
static void report_duplicates(
    struct config_build *build, const struct config_value *value)
{
	const struct config_text *text = &value->file->text;
	uint32_t index = (uint32_t)(value->node - text->nodes), count = 0;

	for (uint32_t i = index + 1; i < value->node->next; i = text->nodes[i].next) {
		const struct config_node *node = &text->nodes[i];
		struct config_value child = {
		    .file = value->file, .node = node, .parent = value, .index = count++};
		if (node->key_line) {
			child.key = text->bytes + node->key_offset;
			child.key_len = node->key_len;
		}
		if (node->first)
			config_error_at_key(
			    build, &child,
			    "duplicate key, first set in line %u (column %u), expected "
			    "it once",
			    text->nodes[node->first].key_line,
			    text->nodes[node->first].key_column);
		report_duplicates(build, &child);
	}
}

static struct config_file *new_file(struct config_build *build, const char *name)
{
	struct config_file **files =
	    reallocarray(build->files, build->files_count + 1, sizeof(*files));
	if (files)
		build->files = files;
	struct config_file *file = files ? calloc(1, sizeof(*file)) : NULL;
	const char *kept = file ? config_file_name(build, name) : NULL;
	if (!kept) {
		free(file);
		build->no_memory = true;
		return NULL;
	}
	file->name = kept;
	file->is_main = build->files_count == 0;
	build->files[build->files_count++] = file;
	return file;
}

bool config_file_add(
    struct config_build *build, const char *name, const struct config_value *by)
{
	char errbuf[256];
	struct config_fault fault;
	size_t len;

	struct config_file *file = new_file(build, name);
	if (!file)
		return false;
	int fd = config_file_open(name, errbuf);
	char *bytes = fd < 0 ? NULL : read_whole(fd, &len, errbuf);
	if (fd >= 0)
		close(fd);
	if (!bytes) {
		if (errbuf[0])
			file_error(build, file, by, errbuf);
		else
			build->no_memory = true;
		return false;
	}
	int r = config_text_parse(bytes, len, &file->text, &fault);
	if (r == -ENOMEM)
		build->no_memory = true;
	if (r > 0) {
		struct where where = {file->name, fault.line, fault.column};
		config_error_at(build, where, NULL, "%s", fault.message);
	}
	if (r)
		return false;
	struct config_value root = config_root(file);
	report_duplicates(build, &root);
	return true;
}

/* ---- include ---- */

static int glob_error(const char *path, int error)
{
	(void)path;
	/* No such folder: nothing matches. Anything else must not look like nothing. */
	return error != ENOENT && error != ENOTDIR;
}

static bool same_file(const char *a, const char *b)
{
	struct stat x, y;
	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

/* A file that `include` names, and the entry that does. */
struct included {
	char *name;
	struct config_value by;
};

struct included_files {
	struct included *items;
	size_t count;
};

static int compare_names(const void *a, const void *b)
{
	return strcmp(
	    ((const struct included *)a)->name, ((const struct included *)b)->name);
}

static void add_included(
    struct config_build *build, struct included_files *found, const char *name,
    const struct config_value *by)
{
	char described[128];
	if (same_file(name, by->file->name)) {
		config_error(
		    build, by, "%s includes this file itself",
		    config_describe(by, described));
		return;
	}
	struct included *items =
	    reallocarray(found->items, found->count + 1, sizeof(*items));
	if (!items) {
		build->no_memory = true;
		return;
	}
	found->items = items;
	items[found->count].by = *by;
	items[found->count].name = config_copy(build, name);
	if (items[found->count].name)
		found->count++;
}

/* The pattern below the folder of its file, whose own name is none. */
static char *glob_pattern(const struct config_value *entry)
{
	const char *pattern = json_string_value(entry->json), *name = entry->file->name;
	const char *slash = strrchr(name, '/');
	size_t folder = pattern[0] == '/' || !slash ? 0 : (size_t)(slash - name + 1);

	char *escaped = malloc(2 * folder + strlen(pattern) + 1), *to = escaped;
	for (size_t i = 0; escaped && i < folder; i++) {
		if (strchr("*?[\\", name[i]))
			*to++ = '\\';
		*to++ = name[i];
	}
	if (escaped)
		strcpy(to, pattern);
	return escaped;
}

static void include_pattern(
    struct config_build *build, const struct config_value *entry,
    struct included_files *found)
{
	char described[128];
	glob_t matches = {0};

	char *pattern = glob_pattern(entry);
	errno = 0;
	int r = pattern ? glob(pattern, GLOB_NOSORT, glob_error, &matches) : GLOB_NOSPACE;
	if (r == GLOB_NOSPACE)
		build->no_memory = true;
	if (r == GLOB_ABORTED)
		config_error(
		    build, entry, "%s: a folder cannot be read: %s",
		    config_describe(entry, described), strerror(errno));
	for (size_t i = 0; r == 0 && i < matches.gl_pathc; i++)
		add_included(build, found, matches.gl_pathv[i], entry);
	globfree(&matches);
	free(pattern);
}

void config_include(struct config_build *build, const struct config_value *include)
{
	struct included_files found = {0};

	for (struct config_each each = config_each(include);
	     json_is_array(include->json) && config_next(&each);) {
		const char *text = json_string_value(each.value.json);
		if (!text || !text[0])
			continue; /* the walk reports it */
		if (strpbrk(text, "*?[")) {
			include_pattern(build, &each.value, &found);
			continue;
		}
		char *name = config_path_from(build, include->file, text);
		if (name)
			add_included(build, &found, name, &each.value);
		free(name);
	}
	if (found.count)
		qsort(found.items, found.count, sizeof(*found.items), compare_names);
	for (size_t i = 0; i < found.count; i++) {
		if (i == 0 || strcmp(found.items[i].name, found.items[i - 1].name) != 0)
			config_file_add(build, found.items[i].name, &found.items[i].by);
	}
	for (size_t i = 0; i < found.count; i++)
		free(found.items[i].name);
	free(found.items);
}
