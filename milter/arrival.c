/* SPDX-License-Identifier: BSD-2-Clause */
#include "milter/arrival.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool is_told(const char *macro)
{
	return macro && macro[0] != '\0';
}

/* What is too long for its place cannot be in a masked header either, whose words are
 * shorter. */
void arrival_copy_word(char *to, size_t size, const char *from)
{
	to[0] = '\0';
	if (from && strlen(from) < size)
		strcpy(to, from);
}

/* For the log as well. */
static void copy_printable(char *to, size_t size, const char *from)
{
	arrival_copy_word(to, size, from);
	for (; *to; to++) {
		if (*to <= ' ' || *to > '~')
			*to = '?';
	}
}

static bool has_no_port(const struct arrival_told *told)
{
	return !is_told(told->daemon_port) || strcmp(told->daemon_port, "0") == 0;
}

/*
 * Local submission comes through cleanup(8), which pretends a client: loopback by name
 * and address, no port, and a queue id already at MAIL. smtpd(8) always has a port, and
 * no queue id before the first recipient, so an SMTP client on this machine is not taken
 * for it, whatever his name.
 */
static bool is_local(const struct arrival_told *told, const struct client *client)
{
	return has_no_port(told) && is_told(told->queue_id) &&
	       !is_told(told->auth_authen) && ip_is_loopback(&client->ip) &&
	       is_told(told->client_name) && strcmp(told->client_name, "localhost") == 0;
}

static void read_client(const struct arrival_told *told, struct client *ret)
{
	const char *addr = told->client_addr ? told->client_addr : "";
	const char *name = told->client_name ? told->client_name : "";
	if (strncmp(addr, "IPv6:", 5) == 0)
		addr += 5;
	ip_parse(addr, strlen(addr), &ret->ip);
	ret->name[0] = '\0';
	if (strcmp(name, "unknown") != 0 && name[0] != '\0')
		domain_canonical(name, strlen(name), ret->name);
}

static void read_sender(
    const struct config *config, const char *sender, struct address *ret)
{
	size_t len = sender ? strlen(sender) : 0;
	if (!sender) {
		*ret = (struct address){.kind = ADDRESS_ABSENT};
		return;
	}
	if (len >= 2 && sender[0] == '<' && sender[len - 1] == '>') {
		sender++;
		len -= 2;
	}
	address_canonical(sender, len, config->recipient_delimiter, ret);
}

static void read_user(const struct arrival_told *told, struct address *ret)
{
	*ret = (struct address){.kind = ADDRESS_ABSENT};
	if (!is_told(told->auth_authen))
		return;
	user_canonical(told->auth_authen, strlen(told->auth_authen), ret);
	/* A login of blanks alone is one all the same. */
	if (ret->kind != ADDRESS_OK)
		*ret = (struct address){.kind = ADDRESS_BAD};
}

/* A port's number; 0: none. */
static uint16_t read_port(const char *port)
{
	if (!is_told(port) || strlen(port) > 5 ||
	    strspn(port, "0123456789") != strlen(port))
		return 0;
	unsigned long number = strtoul(port, NULL, 10);
	return number <= UINT16_MAX ? (uint16_t)number : 0;
}

/* What {daemon_name} says: a number, or what services(5) calls it. */
static uint16_t read_named_port(const char *name)
{
	static const struct {
		const char *name;
		uint16_t port;
	} services[] = {
	    {"smtp", 25}, {"submission", 587}, {"submissions", 465}, {"smtps", 465}};
	if (!is_told(name))
		return 0;
	for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++) {
		if (strcasecmp(name, services[i].name) == 0)
			return services[i].port;
	}
	return read_port(name);
}

static void read_masked_port(
    const struct config *config, const struct arrival_told *told, struct arrival *ret)
{
	const struct port_list *ports = &config->milter.mask.ports;
	uint16_t port = read_port(told->daemon_port);
	uint16_t named = ret->local ? 0 : read_named_port(told->daemon_name);
	ret->masked_port = (port && port_list_has(ports, port)) ||
			   (named && port_list_has(ports, named));
	ret->port_missing = !ret->local && !is_told(told->daemon_port) && !named;
}

static void read_words(
    const struct config *config, const struct arrival_told *told, struct arrival *ret)
{
	arrival_copy_word(ret->hostname, sizeof(ret->hostname), told->hostname);
	if (ret->hostname[0] == '\0')
		arrival_copy_word(ret->hostname, sizeof(ret->hostname), config->hostname);
	copy_printable(ret->client_addr, sizeof(ret->client_addr), told->client_addr);
	if (told->client_name && strcmp(told->client_name, "unknown") != 0)
		arrival_copy_word(
		    ret->client_name, sizeof(ret->client_name), told->client_name);
	arrival_copy_word(ret->login, sizeof(ret->login), told->auth_authen);
	copy_printable(ret->queue_id, sizeof(ret->queue_id), told->queue_id);
}

void arrival_read(
    const struct config *config, const struct arrival_told *told, time_t now,
    struct arrival *ret)
{
	memset(ret, 0, sizeof(*ret));
	read_client(told, &ret->client);
	read_sender(config, told->sender, &ret->sender);
	read_user(told, &ret->user);
	read_words(config, told, ret);
	ret->relay = relay_host_look_up(config, &ret->client, &ret->sender, NULL);
	ret->local = is_local(told, &ret->client);
	read_masked_port(config, told, ret);
	ret->hop = (struct mask_hop){
	    .hostname = ret->hostname,
	    .queue_id = ret->queue_id,
	    .smtputf8 = told->smtputf8,
	    .esmtp = told->esmtp,
	    .tls = is_told(told->tls_version),
	    .authenticated = is_told(told->auth_authen),
	    .time = now,
	};
}

void arrival_set_queue_id(struct arrival *arrival, const char *queue_id)
{
	if (is_told(queue_id))
		copy_printable(arrival->queue_id, sizeof(arrival->queue_id), queue_id);
}
