/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/sockets.h"

#include "common/systemd.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* The socket is made under this name beside its own and renamed once it is complete. */
#define NEW_SUFFIX  ".new"
#define LOCK_SUFFIX ".lock"

/* The kernel cuts it to net.core.somaxconn. */
#define BACKLOG 4096

#define PATH_BYTES sizeof(((struct endpoint *)0)->path)

/*
 * What this process opened, by inode: a path that somebody else has replaced since is not
 * ours to remove.
 */
struct opened {
	struct opened *next;
	dev_t dev;
	ino_t ino;
	char path[PATH_BYTES];
};

static struct opened *opened_sockets;
static pthread_mutex_t opened_lock = PTHREAD_MUTEX_INITIALIZER;

static const char *parse_path(const char *path, struct endpoint *endpoint)
{
	if (path[0] != '/')
		return "a unix: path must be absolute";
	size_t len = strlen(path);
	if (path[len - 1] == '/')
		return "a unix: path must name a socket, not a folder";
	if (len + strlen(NEW_SUFFIX) >= sizeof(endpoint->path))
		return "a unix: path is at most 103 bytes long";
	endpoint->kind = ENDPOINT_UNIX;
	memcpy(endpoint->path, path, len + 1);
	return NULL;
}

static const char *parse_port(const char *text, struct endpoint *endpoint)
{
	size_t len = strlen(text);
	if (len == 0)
		return "the port is missing, expected HOST:PORT";
	if (len > 5 || strspn(text, "0123456789") != len)
		return "a port is a number from 1 to 65535";
	unsigned long port = strtoul(text, NULL, 10);
	if (port < 1 || port > 65535)
		return "a port is a number from 1 to 65535";
	snprintf(endpoint->port, sizeof(endpoint->port), "%u", (unsigned)(uint16_t)port);
	return NULL;
}

static const char *parse_v6(const char *text, struct endpoint *endpoint)
{
	const char *end = strchr(text, ']');
	if (!end || end[1] != ':')
		return "expected [V6]:PORT";
	size_t len = (size_t)(end - text) - 1;
	if (len >= INET6_ADDRSTRLEN)
		return "no IPv6 address in the brackets";
	memcpy(endpoint->host, text + 1, len);
	endpoint->host[len] = '\0';
	struct in6_addr address;
	if (inet_pton(AF_INET6, endpoint->host, &address) != 1)
		return "no IPv6 address in the brackets";
	return parse_port(end + 2, endpoint);
}

static const char *parse_host(const char *text, struct endpoint *endpoint)
{
	const char *colon = strchr(text, ':');
	if (!colon)
		return "expected unix:PATH, HOST:PORT or [V6]:PORT";
	if (strchr(colon + 1, ':'))
		return "an IPv6 address stands in brackets: [V6]:PORT";
	size_t len = (size_t)(colon - text);
	if (len == 0)
		return "the host is missing; 0.0.0.0:PORT and [::]:PORT are all "
		       "addresses";
	if (len > 253)
		return "a host name is at most 253 bytes long";
	bool numeric = true;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		if (!isascii(c) || (!isalnum(c) && !strchr(".-_", c)))
			return "a host is an address or a name of letters, digits, dots "
			       "and hyphens";
		numeric = numeric && (isdigit(c) || c == '.');
	}
	memcpy(endpoint->host, text, len);
	endpoint->host[len] = '\0';
	struct in_addr address;
	if (numeric && inet_pton(AF_INET, endpoint->host, &address) != 1)
		return "no IPv4 address";
	return parse_port(colon + 1, endpoint);
}

const char *endpoint_parse(const char *text, struct endpoint *ret)
{
	struct endpoint endpoint = {.kind = ENDPOINT_INET};
	const char *wrong;
	if (strncmp(text, "unix:", 5) == 0)
		wrong = parse_path(text + 5, &endpoint);
	else if (text[0] == '[')
		wrong = parse_v6(text, &endpoint);
	else
		wrong = parse_host(text, &endpoint);
	if (!wrong)
		*ret = endpoint;
	return wrong;
}

static int set_flags(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	flags = fcntl(fd, F_GETFD);
	if (flags < 0 || fcntl(fd, F_SETFD, flags | FD_CLOEXEC) < 0)
		return -errno;
	return 0;
}

static void set_option(int fd, int level, int option)
{
	int one = 1;
	/* Speed and convenience alone: without them the socket serves all the same. */
	(void)setsockopt(fd, level, option, &one, sizeof(one));
}

static int bind_address(const struct addrinfo *info)
{
	int fd = socket(
	    info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
	if (fd < 0)
		return -errno;
	set_option(fd, SOL_SOCKET, SO_REUSEADDR);
	/* Linux hands it on to accepted connections. */
	set_option(fd, IPPROTO_TCP, TCP_NODELAY);
	/* [::]:PORT beside 0.0.0.0:PORT: each means its own family. */
	if (info->ai_family == AF_INET6)
		set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY);
	if (bind(fd, info->ai_addr, info->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
		int r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

static const char *inet_remedy(int error)
{
	switch (error) {
	case EADDRINUSE:
		return "stop the program that listens there (ss -ltnp shows it) or "
		       "choose "
		       "another port";
	case EADDRNOTAVAIL:
		return "use an address that this machine has (ip addr shows them)";
	case EACCES:
		return "use a port above 1023, or start as root";
	default:
		return "see the reason";
	}
}

static int listen_inet(const struct endpoint *endpoint, char *errbuf, size_t errsize)
{
	bool v6 = strchr(endpoint->host, ':') != NULL;
	const char *open = v6 ? "[" : "", *close_ = v6 ? "]" : "";
	struct addrinfo hints = {
	    .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
	struct addrinfo *list;
	int r = getaddrinfo(endpoint->host, endpoint->port, &hints, &list);
	if (r != 0) {
		snprintf(
		    errbuf, errsize,
		    "cannot listen on %s:%s: %s; write an address instead of the name",
		    endpoint->host, endpoint->port, gai_strerror(r));
		return -1;
	}
	/* A name with several addresses: the first that can be had. */
	int fd = -EADDRNOTAVAIL, first = 0;
	for (struct addrinfo *info = list; info && fd < 0; info = info->ai_next) {
		fd = bind_address(info);
		if (fd < 0 && first == 0)
			first = fd;
	}
	freeaddrinfo(list);
	if (fd < 0) {
		fd = first ? first : fd;
		snprintf(
		    errbuf, errsize, "cannot listen on %s%s%s:%s: %s; %s", open,
		    endpoint->host, close_, endpoint->port, strerror(-fd),
		    inet_remedy(-fd));
		return -1;
	}
	return fd;
}

/*
 * Locks PATH.lock, which exists only while somebody holds it. Returns its descriptor or a
 * negative errno. The loop: the file we locked may have been removed by its last holder
 * between open and flock.
 */
static int lock_path(const char *lock)
{
	for (int tries = 0; tries < 100; tries++) {
		int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0)
			return -errno;
		struct stat ours, named;
		if (flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &ours) < 0) {
			int r = -errno;
			close(fd);
			return r;
		}
		if (lstat(lock, &named) == 0 && named.st_ino == ours.st_ino &&
		    named.st_dev == ours.st_dev)
			return fd;
		close(fd);
	}
	return -EWOULDBLOCK;
}

static void unlock_path(const char *lock, int fd)
{
	(void)unlink(lock);
	close(fd);
}

static void fill_address(
    struct sockaddr_un *address, const char *path, const char *suffix)
{
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	int len =
	    snprintf(address->sun_path, sizeof(address->sun_path), "%s%s", path, suffix);
	assert(len > 0 && (size_t)len < sizeof(address->sun_path));
}

/* Somebody listens at @path: 1; nobody: 0; cannot be told: negative errno. */
static int probe(const char *path)
{
	struct sockaddr_un address;
	fill_address(&address, path, "");
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	int r = connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? errno : 0;
	close(fd);
	switch (r) {
	case 0:
	case EAGAIN:     /* its queue is full */
	case EPROTOTYPE: /* a socket of another type */
		return 1;
	case ECONNREFUSED:
	case ENOENT:
		return 0;
	default:
		return -r;
	}
}

/* Returns 0 when @path may be replaced, else -1 with a sentence. */
static int check_replaceable(const char *path, char *errbuf, size_t errsize)
{
	struct stat st;
	if (lstat(path, &st) < 0) {
		if (errno == ENOENT)
			return 0;
		snprintf(errbuf, errsize, "cannot look at %s: %s", path, strerror(errno));
		return -1;
	}
	if (!S_ISSOCK(st.st_mode)) {
		snprintf(
		    errbuf, errsize,
		    "cannot listen on unix:%s: a %s stands there, left alone; remove it "
		    "or choose another path",
		    path,
		    S_ISLNK(st.st_mode)   ? "symbolic link"
		    : S_ISDIR(st.st_mode) ? "folder"
		    : S_ISREG(st.st_mode) ? "regular file"
					  : "special file");
		return -1;
	}
	int r = probe(path);
	if (r > 0)
		snprintf(
		    errbuf, errsize,
		    "cannot listen on unix:%s: another process listens there; stop it "
		    "or choose another path",
		    path);
	else if (r < 0)
		snprintf(
		    errbuf, errsize,
		    "cannot listen on unix:%s: the socket there cannot be probed: %s; "
		    "remove it if nothing uses it",
		    path, strerror(-r));
	return r == 0 ? 0 : -1;
}

/* (gid_t)-1 in *ret: leave the group alone. */
static int find_group(const char *name, gid_t *ret, char *errbuf, size_t errsize)
{
	*ret = (gid_t)-1;
	if (!name || !name[0])
		return 0;
	struct group group, *found = NULL;
	char buf[16384];
	int r = getgrnam_r(name, &group, buf, sizeof(buf), &found);
	if (found) {
		*ret = found->gr_gid;
		return 0;
	}
	snprintf(
	    errbuf, errsize,
	    "socket_group: there is no group \"%s\"%s%s; create it or name another", name,
	    r ? ": " : "", r ? strerror(r) : "");
	return -1;
}

static int explain(
    const char *what, const char *path, int error, char *errbuf, size_t errsize)
{
	const char *remedy = "";
	if (error == ENOENT)
		remedy = "; create its folder, searchable by Postfix";
	else if (error == EACCES || error == EROFS)
		remedy = "; the folder must be writable for the user that starts this";
	else if (error == EPERM)
		remedy = "; start as root, or as a member of that group";
	snprintf(
	    errbuf, errsize, "cannot %s unix:%s: %s%s", what, path, strerror(error),
	    remedy);
	return -1;
}

static int remember(const char *path)
{
	struct stat st;
	struct opened *opened = calloc(1, sizeof(*opened));
	if (!opened || lstat(path, &st) < 0) {
		int r = opened ? -errno : -ENOMEM;
		free(opened);
		return r;
	}
	opened->dev = st.st_dev;
	opened->ino = st.st_ino;
	snprintf(opened->path, sizeof(opened->path), "%s", path);
	pthread_mutex_lock(&opened_lock);
	opened->next = opened_sockets;
	opened_sockets = opened;
	pthread_mutex_unlock(&opened_lock);
	return 0;
}

/*
 * Under the lock: binds PATH.new, gives it group and mode, listens, renames it to PATH.
 * Whoever sees PATH can connect, and only who may.
 */
static int bind_and_rename(
    const char *path, mode_t mode, gid_t group, char *errbuf, size_t errsize)
{
	struct sockaddr_un address;
	fill_address(&address, path, NEW_SUFFIX);
	const char *new_path = address.sun_path;

	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return explain("open", path, errno, errbuf, errsize);
	(void)unlink(new_path);
	/* bind() takes the mode of the descriptor, less umask: nobody else's until then.
	 */
	if (fchmod(fd, 0600) < 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		explain("listen on", path, errno, errbuf, errsize);
		close(fd);
		return -1;
	}

	const char *step = "set the group of";
	bool done = group == (gid_t)-1 || lchown(new_path, (uid_t)-1, group) == 0;
	if (done) {
		step = "set the mode of";
		done = fchmodat(AT_FDCWD, new_path, mode, AT_SYMLINK_NOFOLLOW) == 0;
	}
	if (done) {
		step = "listen on";
		done = listen(fd, BACKLOG) == 0 && rename(new_path, path) == 0;
	}
	if (!done) {
		explain(step, path, errno, errbuf, errsize);
		(void)unlink(new_path);
		close(fd);
		return -1;
	}
	int r = remember(path);
	if (r < 0) {
		explain("listen on", path, -r, errbuf, errsize);
		(void)unlink(path);
		close(fd);
		return -1;
	}
	return fd;
}

static int listen_unix(
    const struct endpoint *endpoint, mode_t mode, const char *group_name, char *errbuf,
    size_t errsize)
{
	gid_t group;
	if (find_group(group_name, &group, errbuf, errsize) < 0)
		return -1;

	char lock[PATH_BYTES + sizeof(LOCK_SUFFIX)];
	snprintf(lock, sizeof(lock), "%s%s", endpoint->path, LOCK_SUFFIX);
	int lock_fd = lock_path(lock);
	if (lock_fd == -EWOULDBLOCK) {
		snprintf(
		    errbuf, errsize,
		    "cannot listen on unix:%s: another process holds %s, which means it "
		    "is opening this socket now; start only one",
		    endpoint->path, lock);
		return -1;
	}
	if (lock_fd < 0)
		return explain("listen on", endpoint->path, -lock_fd, errbuf, errsize);

	int fd = check_replaceable(endpoint->path, errbuf, errsize);
	if (fd == 0)
		fd = bind_and_rename(endpoint->path, mode, group, errbuf, errsize);
	unlock_path(lock, lock_fd);
	return fd;
}

int endpoint_listen(
    const struct endpoint *endpoint, mode_t mode, const char *group, char *errbuf,
    size_t errsize)
{
	switch (endpoint->kind) {
	case ENDPOINT_UNIX:
		return listen_unix(endpoint, mode, group, errbuf, errsize);
	case ENDPOINT_INET:
		return listen_inet(endpoint, errbuf, errsize);
	}
	assert(0);
	return -1;
}

static struct opened *forget(const char *path)
{
	pthread_mutex_lock(&opened_lock);
	struct opened **link = &opened_sockets;
	while (*link && strcmp((*link)->path, path) != 0)
		link = &(*link)->next;
	struct opened *opened = *link;
	if (opened)
		*link = opened->next;
	pthread_mutex_unlock(&opened_lock);
	return opened;
}

void endpoint_unlink(const struct endpoint *endpoint)
{
	if (endpoint->kind != ENDPOINT_UNIX)
		return;
	struct opened *opened = forget(endpoint->path);
	if (!opened)
		return;
	struct stat st;
	/* Under the lock nobody of ours replaces the path between look and removal. */
	char lock[PATH_BYTES + sizeof(LOCK_SUFFIX)];
	snprintf(lock, sizeof(lock), "%s%s", endpoint->path, LOCK_SUFFIX);
	int lock_fd = lock_path(lock);
	/* No lock is no reason to stay: after dropping privileges the folder may be shut
	 * to us, and then the removal fails as well. The next start replaces the path. */
	if (lstat(endpoint->path, &st) == 0 && st.st_ino == opened->ino &&
	    st.st_dev == opened->dev)
		(void)unlink(endpoint->path);
	if (lock_fd >= 0)
		unlock_path(lock, lock_fd);
	free(opened);
}

static bool is_listening_stream(int fd)
{
	int type = 0, listening = 0;
	socklen_t len = sizeof(type);
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_STREAM)
		return false;
	len = sizeof(listening);
	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) == 0 &&
	       listening;
}

int sockets_activated(int *ret_first, char *errbuf, size_t errsize)
{
	int count = systemd_listen_fds();
	if (count < 0) {
		snprintf(
		    errbuf, errsize, "cannot take the sockets that systemd passed: %s",
		    strerror(-count));
		return -1;
	}
	for (int fd = SYSTEMD_FIRST; fd < SYSTEMD_FIRST + count; fd++) {
		if (!is_listening_stream(fd)) {
			snprintf(
			    errbuf, errsize,
			    "descriptor %d passed by systemd is not a listening stream "
			    "socket; use ListenStream= and Accept=no in the .socket unit",
			    fd);
			return -1;
		}
		int r = set_flags(fd);
		if (r < 0) {
			snprintf(
			    errbuf, errsize, "descriptor %d passed by systemd: %s", fd,
			    strerror(-r));
			return -1;
		}
		set_option(fd, IPPROTO_TCP, TCP_NODELAY); /* fails on unix sockets */
	}
	*ret_first = SYSTEMD_FIRST;
	return count;
}
