/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/redis_server.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define WORDS_MAX 160

struct redis_server {
	char folder[32], path[64];
	pid_t pid;
	FILE *in, *out;
	char *reply;
	size_t reply_len, reply_size;
};

static void run_server(const struct redis_server *server, int log)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(log, STDOUT_FILENO);
	execlp(
	    "redis-server", "redis-server", "--port", "0", "--unixsocket", server->path,
	    "--save", "", "--appendonly", "no", "--dir", server->folder, (char *)NULL);
	_exit(127);
}

/* Redis says when it listens. */
static void wait_ready(int log)
{
	FILE *lines = fdopen(log, "r");
	char line[512];

	assert_non_null(lines);
	while (fgets(line, sizeof(line), lines))
		if (strstr(line, "ready to accept connections") ||
		    strstr(line, "Ready to accept connections"))
			return; /* the pipe stays open: Redis writes on into it */
	fail_msg("redis-server did not start: is it installed?");
}

static void connect_to(struct redis_server *server)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, server->path);
	assert_return_code(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	server->in = fdopen(fd, "r");
	server->out = fdopen(dup(fd), "w");
	assert_non_null(server->in);
	assert_non_null(server->out);
}

struct redis_server *redis_server_start(void)
{
	struct redis_server *server = calloc(1, sizeof(*server));
	int log[2];

	assert_non_null(server);
	strcpy(server->folder, "/tmp/postern-redis-XXXXXX");
	assert_non_null(mkdtemp(server->folder));
	snprintf(server->path, sizeof(server->path), "%s/redis", server->folder);
	assert_return_code(pipe(log), 0);
	server->pid = fork();
	assert_return_code(server->pid, 0);
	if (server->pid == 0)
		run_server(server, log[1]);
	close(log[1]);
	wait_ready(log[0]);
	connect_to(server);
	return server;
}

struct redis_server *redis_server_stop(struct redis_server *server)
{
	if (!server)
		return NULL;
	fclose(server->in);
	fclose(server->out);
	kill(server->pid, SIGKILL);
	waitpid(server->pid, NULL, 0);
	unlink(server->path);
	rmdir(server->folder);
	free(server->reply);
	free(server);
	return NULL;
}

const char *redis_server_path(const struct redis_server *server)
{
	return server->path;
}

static void add(struct redis_server *server, const char *bytes, size_t len)
{
	if (server->reply_len + len + 1 > server->reply_size) {
		server->reply_size = 2 * (server->reply_len + len + 1);
		server->reply = realloc(server->reply, server->reply_size);
		assert_non_null(server->reply);
	}
	memcpy(server->reply + server->reply_len, bytes, len);
	server->reply_len += len;
	server->reply[server->reply_len] = '\0';
}

static void read_bulk(struct redis_server *server, long len)
{
	char end[2];
	char *bytes;

	if (len < 0) {
		add(server, "(nil)", 5);
		return;
	}
	bytes = malloc((size_t)len + 1);
	assert_non_null(bytes);
	assert_int_equal(fread(bytes, 1, (size_t)len, server->in), len);
	assert_int_equal(fread(end, 1, 2, server->in), 2);
	add(server, bytes, (size_t)len);
	free(bytes);
}

static void read_reply(struct redis_server *server)
{
	char line[1024];
	long elements = 1;

	/* Lists in lists read like one: each element counts down, a list counts up. */
	for (bool first = true; elements > 0; elements--, first = false) {
		assert_non_null(fgets(line, sizeof(line), server->in));
		size_t len = strcspn(line, "\r");
		if (!first && line[0] != '*' && server->reply_len > 0)
			add(server, " ", 1);
		if (line[0] == '$')
			read_bulk(server, atol(line + 1));
		else if (line[0] == '*')
			elements += atol(line + 1) > 0 ? atol(line + 1) : 0;
		else if (line[0] == '-')
			add(server, line, len);
		else
			add(server, line + 1, len - 1);
	}
}

const char *redis_server_ask(
    struct redis_server *server, int argc, const char *const *argv, const size_t *len,
    size_t *ret_len)
{
	fprintf(server->out, "*%d\r\n", argc);
	for (int i = 0; i < argc; i++) {
		fprintf(server->out, "$%zu\r\n", len[i]);
		fwrite(argv[i], 1, len[i], server->out);
		fputs("\r\n", server->out);
	}
	assert_return_code(fflush(server->out), 0);
	server->reply_len = 0;
	add(server, "", 0);
	read_reply(server);
	*ret_len = server->reply_len;
	return server->reply;
}

const char *redis_server_say(struct redis_server *server, ...)
{
	const char *words[WORDS_MAX];
	size_t lens[WORDS_MAX], len;
	int count = 0;
	va_list list;

	va_start(list, server);
	for (const char *word; (word = va_arg(list, const char *));) {
		assert_true(count < WORDS_MAX);
		lens[count] = strlen(word);
		words[count++] = word;
	}
	va_end(list);
	return redis_server_ask(server, count, words, lens, &len);
}
