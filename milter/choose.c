/* SPDX-License-Identifier: BSD-2-Clause */
#include "milter/choose.h"

/* The key's own "domain", else the entry of domains that the author belongs to. */
static const char *signing_domain(
    const struct dkim_key_config *key, const struct domain *domain)
{
	return key->domain[0] ? key->domain : domain->name;
}

size_t choose_keys(
    const struct config *config, const struct domain *domain,
    const struct key_filter *filter, struct chosen_key ret[static CHOSEN_KEYS_MAX])
{
	struct chosen_key first[CHOSEN_KEYS_MAX] = {0};
	size_t count = 0;
	for (size_t i = 0; i < domain->dkim_count; i++) {
		const struct dkim_key_config *key =
		    &config->milter.dkim.keys[domain->dkim[i]];
		if (!key->key || first[key->key->algorithm].key)
			continue;
		if (filter && !filter->published(filter->context, domain, i))
			continue;
		first[key->key->algorithm] =
		    (struct chosen_key){key, signing_domain(key, domain)};
	}
	for (size_t i = 0; i < CHOSEN_KEYS_MAX; i++) {
		if (first[i].key)
			ret[count++] = first[i];
	}
	return count;
}
