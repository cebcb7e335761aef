/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/control.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* (uid_t)-1: leave the owner alone. */
static int find_user(const char *name, uid_t *ret, char *errbuf, size_t errsize)
{
	struct passwd passwd, *found = NULL;
	char buf[16384];

	*ret = (uid_t)-1;
	if (name[0] == '\0' || geteuid() != 0)
		return 0;
	int r = getpwnam_r(name, &passwd, buf, sizeof(buf), &found);
	if (!found) {
		snprintf(
		    errbuf, errsize, "there is no user \"%s\"%s%s", name, r ? ": " : "",
		    r ? strerror(r) : "");
		return -1;
	}
	*ret = found->pw_uid;
	return 0;
}

/* Nothing is said when it cannot be made: opening the socket fails then, and says it. */
static void make_folder(const char *path, uid_t owner)
{
	char folder[sizeof(((struct endpoint *)0)->path)];

	snprintf(folder, sizeof(folder), "%s", path);
	char *slash = strrchr(folder, '/');
	if (!slash || slash == folder)
		return;
	*slash = '\0';
	if (mkdir(folder, 0755) < 0 || owner == (uid_t)-1)
		return;
	int fd = open(folder, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0) {
		(void)!fchownat(fd, "", owner, (gid_t)-1, AT_EMPTY_PATH);
		close(fd);
	}
}

/* By a descriptor: whoever owns the folder could put another file under the name between
 * look and change. */
static int set_owner(const char *path, uid_t owner)
{
	struct stat st;
	int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	int r = fstat(fd, &st) < 0 ? -errno : S_ISSOCK(st.st_mode) ? 0 : -ENOTSOCK;
	if (r == 0 && fchownat(fd, "", owner, (gid_t)-1, AT_EMPTY_PATH) < 0)
		r = -errno;
	close(fd);
	return r;
}

int control_listen(
    const char *address, mode_t mode, const char *group, const char *user,
    struct endpoint *ret, char *errbuf, size_t errsize)
{
	struct endpoint endpoint;
	uid_t owner;

	const char *wrong = endpoint_parse(address, &endpoint);
	if (wrong || endpoint.kind != ENDPOINT_UNIX) {
		snprintf(
		    errbuf, errsize, "%s: %s", address,
		    wrong ? wrong : "expected unix:PATH");
		return -1;
	}
	if (find_user(user, &owner, errbuf, errsize) < 0)
		return -1;
	make_folder(endpoint.path, owner);
	int fd = endpoint_listen(&endpoint, mode, group, errbuf, errsize);
	if (fd < 0)
		return -1;
	int r = owner == (uid_t)-1 ? 0 : set_owner(endpoint.path, owner);
	if (r < 0) {
		snprintf(
		    errbuf, errsize, "cannot give %s to user \"%s\": %s", address, user,
		    strerror(-r));
		endpoint_unlink(&endpoint);
		close(fd);
		return -1;
	}
	*ret = endpoint;
	return fd;
}
