/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/core/over.h"

#include "policyd/core/identity.h"
#include "policyd/core/subject.h"

#include <string.h>

bool charge_is_over(const struct charge *charge, const struct charge_result *result)
{
	return result->over && (charge->amount > charge->max ||
				result->used > charge->max - charge->amount);
}

static bool set_client(const struct facts *facts, struct block_order *ret)
{
	char buf[IP_TEXT_MAX];

	if (facts->client.ip.family == IP_NONE)
		return false;
	ret->kind = BLOCK_CLIENT;
	strcpy(ret->subject, subject_client(facts, buf));
	return true;
}

static bool set_address(
    enum block_kind kind, const struct address *address, struct block_order *ret)
{
	if (address->kind != ADDRESS_OK)
		return false;
	ret->kind = kind;
	memcpy(ret->subject, address->text, (size_t)address->len + 1);
	return true;
}

static bool set_domain(
    enum block_kind kind, const struct address *address, struct block_order *ret)
{
	if (address->kind != ADDRESS_OK || address->domain_len == 0)
		return false;
	ret->kind = kind;
	ret->subject[0] = '@';
	strcpy(ret->subject + 1, address_domain(address));
	return true;
}

/* Whom a limit per @per blocks. False: nobody who could be named. */
static bool set_subject(
    enum limit_per per, const struct facts *facts, struct block_order *ret)
{
	switch (per) {
	case PER_CLIENT:
		return set_client(facts, ret);
	case PER_USER:
		return set_address(BLOCK_USER, &facts->user, ret);
	case PER_SENDER:
		return set_address(BLOCK_SENDER, &facts->sender, ret);
	case PER_SENDER_DOMAIN:
		return set_domain(BLOCK_SENDER, &facts->sender, ret);
	case PER_RECIPIENT:
		return set_address(BLOCK_RECIPIENT, &facts->recipient, ret);
	case PER_RECIPIENT_DOMAIN:
		return set_domain(BLOCK_RECIPIENT, &facts->recipient, ret);
	case PER_EVERYONE:
	case PER_MESSAGE:
		break; /* refused by the loader */
	}
	return false;
}

void order_blocks(
    const struct config *config, struct plan *plan, const struct outcome *outcome)
{
	for (size_t i = 0; i < plan->charges_count && i < outcome->count; i++) {
		const struct charge *charge = &plan->charges[i];
		const struct limit *limit = &config->limits[charge->limit];
		if (limit->block_s == 0 || limit->shadow ||
		    !charge_is_over(charge, &outcome->results[i]))
			continue;
		if (plan->blocks_count == BLOCK_ORDERS_MAX ||
		    client_is_trusted(config, plan->facts))
			return;
		struct block_order *order = &plan->blocks[plan->blocks_count];
		if (!set_subject((enum limit_per)limit->per, plan->facts, order))
			continue;
		order->seconds = limit->block_s;
		order->limit = limit->name;
		plan->blocks_count++;
	}
}
