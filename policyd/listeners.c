/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/listeners.h"

#include "common/sockets.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char *endpoint_name(const struct endpoint *endpoint)
{
	char *name = NULL;
	bool v6 = strchr(endpoint->host, ':') != NULL;
	int len = endpoint->kind == ENDPOINT_UNIX
		      ? asprintf(&name, "unix:%s", endpoint->path)
		      : asprintf(
			    &name, "%s%s%s:%s", v6 ? "[" : "", endpoint->host,
			    v6 ? "]" : "", endpoint->port);
	return len < 0 ? NULL : name;
}

/* What a passed socket listens on. */
static char *socket_name(int fd)
{
	union {
		struct sockaddr any;
		struct sockaddr_un un;
		struct sockaddr_storage storage;
	} address = {0};
	socklen_t len = sizeof(address.storage) - 1; /* keeps sun_path terminated */
	struct endpoint endpoint = {.kind = ENDPOINT_INET};
	if (getsockname(fd, &address.any, &len) < 0)
		return strdup("a socket of systemd's");
	if (address.any.sa_family == AF_UNIX) {
		endpoint.kind = ENDPOINT_UNIX;
		snprintf(endpoint.path, sizeof(endpoint.path), "%s", address.un.sun_path);
	} else if (
	    getnameinfo(
		&address.any, len, endpoint.host, sizeof(endpoint.host), endpoint.port,
		sizeof(endpoint.port), NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
		return strdup("a socket of systemd's");
	}
	return endpoint_name(&endpoint);
}

void listeners_unlink(struct listeners *listeners)
{
	for (size_t i = 0; i < listeners->count; i++)
		if (listeners->items[i].endpoint)
			endpoint_unlink(listeners->items[i].endpoint);
}

void listeners_close(struct listeners *listeners)
{
	listeners_unlink(listeners);
	for (size_t i = 0; i < listeners->count; i++) {
		close(listeners->items[i].fd);
		free(listeners->items[i].name);
		free(listeners->items[i].endpoint);
	}
	free(listeners->items);
	*listeners = (struct listeners){0};
}

static int no_memory(char *errbuf, size_t errsize)
{
	snprintf(errbuf, errsize, "no memory for the listening sockets");
	return -1;
}

static int adopt(
    struct listeners *listeners, size_t count, int first, char *errbuf, size_t errsize)
{
	for (size_t i = 0; i < count; i++) {
		struct listener *listener = &listeners->items[i];
		listener->fd = first + (int)i;
		listeners->count++;
		listener->name = socket_name(listener->fd);
		if (!listener->name)
			return no_memory(errbuf, errsize);
	}
	return 0;
}

static int open_configured(
    const struct config *config, struct listeners *listeners, char *errbuf,
    size_t errsize)
{
	for (size_t i = 0; i < config->policyd.listen_count; i++) {
		struct listener *listener = &listeners->items[i];
		listener->fd = endpoint_listen(
		    &config->policyd.listen[i], config->policyd.socket_mode,
		    config->policyd.socket_group, errbuf, errsize);
		if (listener->fd < 0)
			return -1;
		listeners->count++;
		listener->name = endpoint_name(&config->policyd.listen[i]);
		/* A copy: the configuration may be replaced. */
		listener->endpoint = malloc(sizeof(*listener->endpoint));
		if (!listener->name || !listener->endpoint)
			return no_memory(errbuf, errsize);
		*listener->endpoint = config->policyd.listen[i];
	}
	return 0;
}

int listeners_open(
    const struct config *config, struct listeners *ret, char *errbuf, size_t errsize)
{
	int first, passed = sockets_activated(&first, errbuf, errsize);
	if (passed < 0)
		return -1;
	size_t count = passed > 0 ? (size_t)passed : config->policyd.listen_count;
	if (count == 0) {
		snprintf(
		    errbuf, errsize,
		    "policyd.listen is empty and systemd passed no socket: name one");
		return -1;
	}
	struct listeners listeners = {.items = calloc(count, sizeof(struct listener))};
	if (!listeners.items)
		return no_memory(errbuf, errsize);
	int r = passed > 0 ? adopt(&listeners, count, first, errbuf, errsize)
			   : open_configured(config, &listeners, errbuf, errsize);
	if (r < 0) {
		listeners_close(&listeners);
		return -1;
	}
	*ret = listeners;
	return 0;
}
