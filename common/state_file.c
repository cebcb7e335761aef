/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/state_file.h"

#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void string_freep(char **string)
{
	free(*string);
}

static void fd_closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

int state_file_complain(
    const char *path, char errbuf[static STATE_FILE_ERROR_MAX], const char *format, ...)
{
	char text[STATE_FILE_ERROR_MAX];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	snprintf(errbuf, STATE_FILE_ERROR_MAX, "%.250s %.140s", path, text);
	return -1;
}

int state_file_read(
    const char *path, size_t max, char **ret, size_t *ret_len,
    char errbuf[static STATE_FILE_ERROR_MAX])
{
	struct stat st;
	/* Without O_NONBLOCK a FIFO would hold the start for ever. */
	CLEANUP(fd_closep)
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT)
		return 1;
	if (fd < 0 || fstat(fd, &st) < 0)
		return state_file_complain(
		    path, errbuf, "cannot be read: %s", strerror(errno));
	if (!S_ISREG(st.st_mode))
		return state_file_complain(path, errbuf, "is no regular file");
	if ((size_t)st.st_size > max)
		return state_file_complain(
		    path, errbuf, "is too large (%lld bytes)", (long long)st.st_size);
	CLEANUP(string_freep) char *text = malloc((size_t)st.st_size + 1);
	size_t len = 0;
	if (!text)
		return state_file_complain(path, errbuf, "cannot be read: out of memory");
	while (len < (size_t)st.st_size) {
		ssize_t n = read(fd, text + len, (size_t)st.st_size - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return state_file_complain(
			    path, errbuf, "cannot be read: %s", strerror(errno));
		if (n == 0)
			break;
		len += (size_t)n;
	}
	text[len] = '\0';
	*ret = TAKE(text);
	*ret_len = len;
	return 0;
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

int state_file_write(
    const char *path, const char *text, char errbuf[static STATE_FILE_ERROR_MAX])
{
	CLEANUP(string_freep) char *draft = NULL;
	if (asprintf(&draft, "%s.new", path) < 0) {
		draft = NULL;
		return state_file_complain(
		    path, errbuf, "cannot be written: out of memory");
	}
	/* What a death left behind; O_EXCL then follows nobody's link. */
	unlink(draft);
	CLEANUP(fd_closep)
	int fd = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || write_all(fd, text) < 0 || rename(draft, path) < 0) {
		int code = errno;
		if (fd >= 0)
			unlink(draft);
		return state_file_complain(
		    path, errbuf, "cannot be written: %s", strerror(code));
	}
	sync_folder(path);
	return 0;
}
