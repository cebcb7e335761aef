/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/core/identity.h"

#include "common/relay.h"

#include <string.h>

bool user_is_listed(
    const struct config *config, const struct user_list *list, const struct address *user,
    struct list_match *ret)
{
	if (user_list_match(list, user, ret))
		return true;
	const char *realm = config->auth.default_realm;
	if (user->kind != ADDRESS_OK || user_list_empty(list) || !realm ||
	    realm[0] == '\0' || strcmp(address_domain(user), realm) != 0)
		return false;

	struct address bare = {.kind = ADDRESS_OK, .len = user->local_len};
	bare.local_len = user->local_len;
	memcpy(bare.text, user->text, user->local_len);
	bare.text[user->local_len] = '\0';
	return user_list_match(list, &bare, ret);
}

const struct domain *user_domain(const struct config *config, const struct address *user)
{
	if (user->kind != ADDRESS_OK || user->domain_len == 0)
		return NULL;
	return config_domain_find(config, address_domain(user));
}

enum ternary client_is_relay_host(const struct config *config, const struct facts *facts)
{
	switch (relay_host_look_up(config, &facts->client, &facts->sender, NULL).result) {
	case RELAY_HOST_GRANTS:
	case RELAY_HOST_NOT_SENDER:
		return YES;
	case RELAY_HOST_NO:
		return NO;
	case RELAY_HOST_CANNOT_TELL:
		break;
	}
	return EITHER;
}

bool client_is_trusted(const struct config *config, const struct facts *facts)
{
	return host_list_match(config->trusted.hosts, &facts->client, NULL) ==
		   HOST_MATCH ||
	       user_is_listed(config, config->trusted.users, &facts->user, NULL) ||
	       client_is_relay_host(config, facts) == YES;
}
