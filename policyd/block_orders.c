/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/block_orders.h"

#include "common/log.h"
#include "common/printable.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Of a table that is full is spoken once in so many seconds. */
#define FULL_S 60

static void say_full(const struct block_order *order, int64_t now_s, int r)
{
	static _Atomic int64_t said_s;
	int64_t last = atomic_load(&said_s);

	if (now_s - last < FULL_S && now_s >= last)
		return;
	if (!atomic_compare_exchange_strong(&said_s, &last, now_s))
		return;
	log_error(
	    "limit %s: its block cannot be made: %s; the limit itself goes on; see "
	    "`postern blocks`, lift some with `postern unblock`",
	    order->limit, r == -ENOSPC ? "the table of blocks is full" : strerror(-r));
}

static void say_new(const struct block *block, const struct block_order *order)
{
	char subject[256], end[40] = "?";
	time_t until = (time_t)block->until_s;
	struct tm tm;

	if (gmtime_r(&until, &tm))
		strftime(end, sizeof(end), "%Y-%m-%dT%H:%M:%SZ", &tm);
	printable(subject, sizeof(subject), block->subject, strlen(block->subject));
	log_warning(
	    "limit %s: %s %s is blocked until %s; lift it with: postern unblock %s %s",
	    order->limit, block_kind_name(block->kind), subject, end,
	    block_kind_name(block->kind), subject);
}

static void carry_out(
    struct blocks *blocks, const struct config *config, const struct block_order *order,
    int64_t now_s)
{
	struct block block = {
	    .kind = order->kind,
	    .since_s = now_s,
	    .until_s = now_s + order->seconds,
	    .automatic = true,
	};

	memcpy(block.subject, order->subject, sizeof(block.subject));
	snprintf(block.reason, sizeof(block.reason), "over limit %.100s", order->limit);
	snprintf(
	    block.by, sizeof(block.by), "limit %.30s on %.30s", order->limit,
	    config->hostname);
	int r = blocks_put(blocks, &block);
	if (r == 0)
		say_new(&block, order);
	else if (r == -ENOSPC || r == -ENOMEM)
		say_full(order, now_s, r);
}

void block_orders_carry_out(
    struct blocks *blocks, const struct config *config, const struct facts *facts,
    const struct plan *plan, int64_t now_s)
{
	for (size_t i = 0; i < plan->blocks_count; i++)
		if (!blocks_spare(config, facts, plan->blocks[i].kind))
			carry_out(blocks, config, &plan->blocks[i], now_s);
}
