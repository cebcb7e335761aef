/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/dns_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

void dns_server_start(struct dns_server *server)
{
	int to[2], from[2], port;
	char line[64];

	assert_int_equal(pipe(to), 0);
	assert_int_equal(pipe(from), 0);
	server->pid = fork();
	assert_true(server->pid >= 0);
	if (server->pid == 0) {
		dup2(to[0], STDIN_FILENO);
		dup2(from[1], STDOUT_FILENO);
		close(to[1]);
		close(from[0]);
		execl("/usr/bin/python3", "python3", "-B", DNS_SERVER, (char *)NULL);
		_exit(127);
	}
	close(to[0]);
	close(from[1]);
	server->to = fdopen(to[1], "w");
	server->from = fdopen(from[0], "r");
	assert_non_null(fgets(line, sizeof(line), server->from));
	assert_int_equal(sscanf(line, "port %d", &port), 1);
	snprintf(server->address, sizeof(server->address), "127.0.0.1:%d", port);
	server->servers[0] = server->address;
}

void dns_server_stop(struct dns_server *server)
{
	int status;

	fclose(server->to); /* which ends it */
	fclose(server->from);
	assert_int_equal(waitpid(server->pid, &status, 0), server->pid);
	assert_int_equal(status, 0);
}

int dns_server_say(struct dns_server *server, const char *format, ...)
{
	char line[64];
	va_list args;

	va_start(args, format);
	vfprintf(server->to, format, args);
	va_end(args);
	fputc('\n', server->to);
	fflush(server->to);
	assert_non_null(fgets(line, sizeof(line), server->from));
	if (strcmp(line, "ok\n") == 0)
		return 0;
	char *end;
	long number = strtol(line, &end, 10);
	if (*end != '\n')
		fail_msg("%s: %s", format, line);
	return (int)number;
}
