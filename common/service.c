/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/service.h"

#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

/* A service manager that does not read its socket must not hold us up. */
#define NOTIFY_WAIT_S 1

static int become(const struct passwd *user, char *errbuf, size_t errsize)
{
	if (initgroups(user->pw_name, user->pw_gid) < 0 ||
	    setresgid(user->pw_gid, user->pw_gid, user->pw_gid) < 0 ||
	    setresuid(user->pw_uid, user->pw_uid, user->pw_uid) < 0) {
		snprintf(
		    errbuf, errsize, "cannot become user \"%s\": %s", user->pw_name,
		    strerror(errno));
		return -1;
	}
	/* Proof, not trust: no way back may be left. */
	if (user->pw_uid != 0 &&
	    (setuid(0) == 0 || seteuid(0) == 0 || geteuid() != user->pw_uid ||
	     getuid() != user->pw_uid)) {
		snprintf(
		    errbuf, errsize,
		    "became user \"%s\", but root could be regained; not started",
		    user->pw_name);
		return -1;
	}
	return 0;
}

int service_drop_privileges(
    const char *user, int *ret_is_root, char *errbuf, size_t errsize)
{
	if (user[0] == '\0') {
		*ret_is_root = geteuid() == 0;
		return 0;
	}
	struct passwd passwd, *found = NULL;
	char buf[16384];
	int r = getpwnam_r(user, &passwd, buf, sizeof(buf), &found);
	if (!found) {
		snprintf(
		    errbuf, errsize,
		    "there is no user \"%s\"%s%s; create it (useradd --system %s) or "
		    "name another",
		    user, r ? ": " : "", r ? strerror(r) : "", user);
		return -1;
	}
	if (geteuid() != 0 && geteuid() != found->pw_uid) {
		snprintf(
		    errbuf, errsize,
		    "cannot become user \"%s\": not started as root; start as root or "
		    "as that user, or leave the key out",
		    user);
		return -1;
	}
	if (geteuid() == 0 && become(found, errbuf, errsize) < 0)
		return -1;
	*ret_is_root = found->pw_uid == 0;
	return 0;
}

size_t service_raise_descriptors(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 1024; /* what every Linux gives */
	rlim_t before = limit.rlim_cur;
	limit.rlim_cur = limit.rlim_max;
	/* Not without need: a system call filter may forbid it. */
	if (before != limit.rlim_max && setrlimit(RLIMIT_NOFILE, &limit) < 0)
		return (size_t)before;
	return (size_t)limit.rlim_max;
}

/*
 * The protocol is sd_notify(3)'s, which promises that it will not change. Its own
 * function waits without bound when the other side does not read.
 */
void service_notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (!path || (path[0] != '/' && path[0] != '@') ||
	    strlen(path) >= sizeof(address.sun_path))
		return;
	size_t len = strlen(path);
	memcpy(address.sun_path, path, len);
	if (path[0] == '@') /* an abstract address */
		address.sun_path[0] = '\0';

	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	struct timeval wait = {.tv_sec = NOTIFY_WAIT_S};
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	/* Nobody to tell it to, when this fails. */
	(void)sendto(
	    fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
	close(fd);
}

static bool stderr_is_lost(void)
{
	struct stat st;
	return fstat(STDERR_FILENO, &st) < 0 ||
	       (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3)); /* /dev/null */
}

int service_start_log(const char *program, bool to_syslog)
{
	to_syslog = to_syslog || stderr_is_lost();
	int fd;
	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
	return log_start(program, to_syslog, LOG_LEVEL_INFO);
}
