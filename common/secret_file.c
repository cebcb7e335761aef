/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/secret_file.h"

#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void fd_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static void string_freep(char **string)
{
	free(*string);
}

/* Where to complain: what it is and its name stand before every sentence. */
struct complaint {
	const char *what, *path;
	char *buf;
	size_t size;
};

__attribute__((format(printf, 2, 3))) static int refuse(
    const struct complaint *to, const char *format, ...)
{
	char text[PATH_MAX + 512];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	snprintf(to->buf, to->size, "%s %s %s", to->what, to->path, text);
	return -EINVAL;
}

/* One check with one remedy for a folder that lets others swap the key. */
static int check_folder(const char *path, const struct complaint *to)
{
	CLEANUP(string_freep) char *folder = strdup(path);
	if (!folder)
		return refuse(to, "cannot be read: out of memory");
	char *slash = strrchr(folder, '/');
	if (!slash)
		strcpy(folder, ".");
	else
		slash[slash == folder ? 1 : 0] = '\0';

	struct stat st;
	if (stat(folder, &st) < 0)
		return refuse(
		    to,
		    "cannot be checked: folder %s: %s; let the service user search it",
		    folder, strerror(errno));
	if (st.st_mode & S_ISVTX || !(st.st_mode & (S_IWGRP | S_IWOTH)))
		return 0;
	return refuse(
	    to,
	    "can be replaced by others: folder %s is writable by %s (mode %04o); run: "
	    "chmod go-w %s",
	    folder, st.st_mode & S_IWOTH ? "everybody" : "its group", st.st_mode & 07777u,
	    folder);
}

static int refuse_unreadable(uid_t reader, uid_t service_uid, const struct complaint *to)
{
	return refuse(
	    to,
	    "is not readable by user id %lu: Permission denied; run: chown %lu %s, and "
	    "let "
	    "that user search its folders",
	    (unsigned long)reader, (unsigned long)service_uid, to->path);
}

static int check_file(int fd, uid_t service_uid, size_t max, const struct complaint *to)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return refuse(to, "cannot be examined: %s", strerror(errno));
	if (!S_ISREG(st.st_mode))
		return refuse(
		    to, "is no regular file; name the file that holds the secret");
	if (st.st_uid != 0 && st.st_uid != service_uid)
		return refuse(
		    to,
		    "belongs to user id %lu, neither root nor the service user (%lu); "
		    "run: "
		    "chown %lu %s",
		    (unsigned long)st.st_uid, (unsigned long)service_uid,
		    (unsigned long)service_uid, to->path);
	if (st.st_mode & S_IRWXO)
		return refuse(
		    to, "is open to everybody (mode %04o); run: chmod o= %s",
		    st.st_mode & 07777u, to->path);
	/* Root can read it all the same, when it checks for a daemon that cannot. */
	if (geteuid() == 0 && st.st_uid != service_uid && !(st.st_mode & S_IRGRP))
		return refuse_unreadable(service_uid, service_uid, to);
	if (st.st_mode & S_IWGRP)
		return refuse(
		    to, "is writable by its group (mode %04o); run: chmod g-w %s",
		    st.st_mode & 07777u, to->path);
	if (st.st_size > (long long)max)
		return refuse(
		    to, "is too large (%lld bytes, at most %zu)", (long long)st.st_size,
		    max);
	return 0;
}

static int read_all(
    int fd, size_t max, const struct complaint *to, struct secret_text *ret)
{
	ret->bytes = malloc(max + 1);
	if (!ret->bytes)
		return refuse(to, "cannot be read: out of memory");
	while (ret->len < max) {
		ssize_t n = read(fd, ret->bytes + ret->len, max - ret->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return refuse(to, "cannot be read: %s", strerror(errno));
		if (n == 0)
			break;
		ret->len += (size_t)n;
	}
	ret->bytes[ret->len] = '\0';
	return 0;
}

int secret_file_read(
    const char *what, const char *path, uid_t service_uid, size_t max,
    struct secret_text *ret, char *errbuf, size_t errsize)
{
	const struct complaint complaint = {what, path, errbuf, errsize};
	const struct complaint *to = &complaint;
	/* Without O_NONBLOCK a FIFO would hold the load for ever. */
	CLEANUP(fd_close)
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 && errno == EACCES)
		return refuse_unreadable(geteuid(), service_uid, to);
	if (fd < 0)
		return refuse(to, "cannot be opened: %s", strerror(errno));

	int r = check_file(fd, service_uid, max, to);
	if (r < 0)
		return r;
	/* A symlink is as safe as both folders: the one it stands in, and its target's.
	 */
	CLEANUP(string_freep) char *real = realpath(path, NULL);
	if (!real)
		return refuse(to, "cannot be resolved: %s", strerror(errno));
	r = check_folder(path, to);
	if (r == 0)
		r = check_folder(real, to);
	if (r < 0)
		return r;
	return read_all(fd, max, to, ret);
}

void secret_text_done(struct secret_text *text)
{
	if (text->bytes)
		OPENSSL_cleanse(text->bytes, text->len);
	free(text->bytes);
	*text = (struct secret_text){0};
}
