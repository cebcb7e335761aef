/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/service.h"

#include "common/systemd.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

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
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		return (size_t)before;
	return (size_t)limit.rlim_max;
}

void service_notify(const char *state)
{
	systemd_notify(state);
}
