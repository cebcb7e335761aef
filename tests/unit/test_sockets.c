/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/sockets.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define LONGEST                                                                          \
	"unix:/"                                                                         \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"     \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct {
	const char *text;
	bool good;
	enum endpoint_kind kind;
	const char *host, *port, *path;
	const char *why;
} parse_rows[] = {
    {"unix:/run/postern/policy", true, ENDPOINT_UNIX, "", "", "/run/postern/policy",
     "a path"},
    {"127.0.0.1:10040", true, ENDPOINT_INET, "127.0.0.1", "10040", "", "IPv4"},
    {"[::1]:10040", true, ENDPOINT_INET, "::1", "10040", "", "IPv6 in brackets"},
    {"mail-1.example.org:25", true, ENDPOINT_INET, "mail-1.example.org", "25", "",
     "a name"},
    {"localhost:0025", true, ENDPOINT_INET, "localhost", "25", "", "zeros before a port"},
    {"localhost:65535", true, ENDPOINT_INET, "localhost", "65535", "", "the last port"},
    {LONGEST, true, ENDPOINT_UNIX, "", "", &LONGEST[5], "a path of 103 bytes"},
    {LONGEST "a", false, 0, NULL, NULL, NULL, "a path of 104 bytes: no room for .new"},
    {"unix:run/policy", false, 0, NULL, NULL, NULL, "a relative path"},
    {"unix:", false, 0, NULL, NULL, NULL, "no path"},
    {"unix:/run/", false, 0, NULL, NULL, NULL, "a folder"},
    {"", false, 0, NULL, NULL, NULL, "nothing"},
    {"10040", false, 0, NULL, NULL, NULL, "a port alone"},
    {":10040", false, 0, NULL, NULL, NULL, "no host"},
    {"localhost:", false, 0, NULL, NULL, NULL, "no port"},
    {"localhost:0", false, 0, NULL, NULL, NULL, "port 0 is none"},
    {"localhost:65536", false, 0, NULL, NULL, NULL, "port too large"},
    {"localhost:99999999999999999999", false, 0, NULL, NULL, NULL, "port overflows"},
    {"localhost:smtp", false, 0, NULL, NULL, NULL, "a service name"},
    {"localhost:-1", false, 0, NULL, NULL, NULL, "a negative port"},
    {"localhost: 25", false, 0, NULL, NULL, NULL, "a blank before the port"},
    {"::1:10040", false, 0, NULL, NULL, NULL, "IPv6 without brackets"},
    {"[::1]", false, 0, NULL, NULL, NULL, "IPv6 without a port"},
    {"[::1]10040", false, 0, NULL, NULL, NULL, "IPv6 without a colon"},
    {"[::g]:1", false, 0, NULL, NULL, NULL, "no IPv6 address"},
    {"[127.0.0.1]:1", false, 0, NULL, NULL, NULL, "IPv4 in brackets"},
    {"[::1:1", false, 0, NULL, NULL, NULL, "the bracket stays open"},
    {"1.2.3:25", false, 0, NULL, NULL, NULL, "IPv4 with three parts"},
    {"300.2.3.4:25", false, 0, NULL, NULL, NULL, "IPv4 out of range"},
    {"*:25", false, 0, NULL, NULL, NULL, "a star is no host"},
    {"a b:25", false, 0, NULL, NULL, NULL, "a blank in a name"},
};

static void test_parse(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(parse_rows) / sizeof(parse_rows[0]); i++) {
		struct endpoint endpoint;
		memset(&endpoint, 'x', sizeof(endpoint));
		const char *wrong = endpoint_parse(parse_rows[i].text, &endpoint);
		if ((wrong == NULL) != parse_rows[i].good)
			fail_msg(
			    "%s: \"%s\" gave %s", parse_rows[i].why, parse_rows[i].text,
			    wrong ? wrong : "an endpoint");
		if (wrong) {
			if (endpoint.path[0] != 'x')
				fail_msg("%s: *ret was touched", parse_rows[i].why);
			continue;
		}
		if (endpoint.kind != parse_rows[i].kind ||
		    strcmp(endpoint.host, parse_rows[i].host) != 0 ||
		    strcmp(endpoint.port, parse_rows[i].port) != 0 ||
		    strcmp(endpoint.path, parse_rows[i].path) != 0)
			fail_msg(
			    "%s: host %s port %s path %s", parse_rows[i].why,
			    endpoint.host, endpoint.port, endpoint.path);
	}
}

struct folder {
	char path[64];
	struct endpoint endpoint; /* FOLDER/s */
};

static int setup(void **state)
{
	struct folder *folder = calloc(1, sizeof(*folder));
	if (!folder)
		return -1;
	strcpy(folder->path, "/tmp/postern-sockets-XXXXXX");
	if (!mkdtemp(folder->path))
		return -1;
	folder->endpoint.kind = ENDPOINT_UNIX;
	snprintf(
	    folder->endpoint.path, sizeof(folder->endpoint.path), "%s/s", folder->path);
	*state = folder;
	return 0;
}

static int teardown(void **state)
{
	struct folder *folder = *state;
	DIR *dir = opendir(folder->path);
	if (!dir)
		return -1;
	for (struct dirent *entry; (entry = readdir(dir));)
		if (entry->d_name[0] != '.')
			unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
	rmdir(folder->path);
	free(folder);
	return 0;
}

static int count_files(const struct folder *folder)
{
	int count = 0;
	DIR *dir = opendir(folder->path);
	assert_non_null(dir);
	for (struct dirent *entry; (entry = readdir(dir));)
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

static int connect_to(const struct endpoint *endpoint)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	memcpy(address.sun_path, endpoint->path, sizeof(address.sun_path));
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		int r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

static int must_listen(const struct endpoint *endpoint, mode_t mode)
{
	char errbuf[512] = "";
	int fd = endpoint_listen(endpoint, mode, NULL, errbuf, sizeof(errbuf));
	if (fd < 0)
		fail_msg("%s", errbuf);
	return fd;
}

static void must_refuse(const struct endpoint *endpoint, const char *text)
{
	char errbuf[512] = "";
	int fd = endpoint_listen(endpoint, 0600, NULL, errbuf, sizeof(errbuf));
	if (fd >= 0)
		fail_msg("opened, expected a refusal with \"%s\"", text);
	if (!strstr(errbuf, text) || !strstr(errbuf, endpoint->path))
		fail_msg("\"%s\" lacks \"%s\" or the path", errbuf, text);
}

static void test_unix(void **state)
{
	struct folder *folder = *state;
	mode_t old_mask = umask(077);
	int fd = must_listen(&folder->endpoint, 0660);
	umask(old_mask);

	struct stat st;
	assert_int_equal(lstat(folder->endpoint.path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0660); /* umask does not cut it */
	assert_int_equal(count_files(folder), 1);   /* neither lock nor .new stays */
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);

	int client = connect_to(&folder->endpoint);
	assert_true(client >= 0);
	close(client);

	endpoint_unlink(&folder->endpoint);
	assert_int_equal(count_files(folder), 0);
	close(fd);
}

static void test_live_socket_is_refused(void **state)
{
	struct folder *folder = *state;
	int fd = must_listen(&folder->endpoint, 0600);
	must_refuse(&folder->endpoint, "another process listens there");
	int client = connect_to(&folder->endpoint);
	assert_true(client >= 0);
	close(client);
	close(fd);
	endpoint_unlink(&folder->endpoint);
}

static void test_full_queue_is_live(void **state)
{
	struct folder *folder = *state;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	memcpy(address.sun_path, folder->endpoint.path, sizeof(address.sun_path));
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 0), 0);
	int client = connect_to(&folder->endpoint); /* fills the queue of one */
	assert_true(client >= 0);
	must_refuse(&folder->endpoint, "another process listens there");
	close(client);
	close(fd);
}

static void test_stale_socket_is_replaced(void **state)
{
	struct folder *folder = *state;
	close(must_listen(&folder->endpoint, 0600));
	assert_int_equal(connect_to(&folder->endpoint), -ECONNREFUSED);
	int fd = must_listen(&folder->endpoint, 0600);
	int client = connect_to(&folder->endpoint);
	assert_true(client >= 0);
	close(client);
	close(fd);
}

static void test_others_are_left_alone(void **state)
{
	struct folder *folder = *state;
	const char *path = folder->endpoint.path;

	int fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_int_equal(write(fd, "precious", 8), 8);
	close(fd);
	must_refuse(&folder->endpoint, "a regular file stands there");
	struct stat st;
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_size, 8);
	unlink(path);

	assert_int_equal(symlink("/nowhere", path), 0);
	must_refuse(&folder->endpoint, "a symbolic link stands there");
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	unlink(path);

	struct endpoint missing = folder->endpoint;
	strcat(missing.path, "/deeper/s");
	must_refuse(&missing, "create its folder");
}

static void test_unlink_spares_a_successor(void **state)
{
	struct folder *folder = *state;
	int first = must_listen(&folder->endpoint, 0600);
	/* An inode must not come back at once, so the old name is moved, not removed. */
	struct endpoint aside = folder->endpoint;
	strcat(aside.path, "old");
	assert_int_equal(rename(folder->endpoint.path, aside.path), 0);
	int fd = open(folder->endpoint.path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	endpoint_unlink(&folder->endpoint);
	assert_int_equal(access(folder->endpoint.path, F_OK), 0);
	close(first);
}

static void test_unknown_group(void **state)
{
	struct folder *folder = *state;
	char errbuf[512] = "";
	assert_int_equal(
	    endpoint_listen(
		&folder->endpoint, 0660, "no-such-group-here", errbuf, sizeof(errbuf)),
	    -1);
	assert_non_null(strstr(errbuf, "no-such-group-here"));
	assert_int_equal(count_files(folder), 0);
}

static void test_inet(void **state)
{
	(void)state;
	/* A free port: the kernel's choice for a socket that is closed again. */
	struct sockaddr_in address = {.sin_family = AF_INET};
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	close(fd);

	struct endpoint endpoint = {.kind = ENDPOINT_INET, .host = "127.0.0.1"};
	snprintf(
	    endpoint.port, sizeof(endpoint.port), "%u",
	    (unsigned)ntohs(address.sin_port));
	int listener = must_listen(&endpoint, 0600);
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(client, (struct sockaddr *)&address, len), 0);
	int accepted = accept(listener, NULL, NULL);
	assert_true(accepted >= 0);
	int nodelay = 0;
	len = sizeof(nodelay);
	assert_int_equal(
	    getsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &nodelay, &len), 0);
	assert_true(nodelay);

	char errbuf[512] = "";
	assert_int_equal(endpoint_listen(&endpoint, 0, NULL, errbuf, sizeof(errbuf)), -1);
	assert_non_null(strstr(errbuf, endpoint.port));
	assert_non_null(strstr(errbuf, "ss -ltnp"));
	close(client);
	close(accepted);
	close(listener);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_parse),
	    cmocka_unit_test_setup_teardown(test_unix, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_live_socket_is_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_full_queue_is_live, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		test_stale_socket_is_replaced, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_others_are_left_alone, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		test_unlink_spares_a_successor, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_unknown_group, setup, teardown),
	    cmocka_unit_test(test_inet),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
