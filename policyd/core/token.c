/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/cleanup.h"
#include "common/digest.h"
#include "policyd/core/decide.h"

#include <assert.h>
#include <string.h>

/* Postfix's instances have about 30 bytes, recipients seldom more than 60. What is longer
 * stands as "#" and its digest: a token is bounded, and none goes without. */
#define HOSTNAME_MAX  255
#define INSTANCE_MAX  100
#define RECIPIENT_MAX 200

static_assert(
    HOSTNAME_MAX + 1 + INSTANCE_MAX + 3 + RECIPIENT_MAX < PLAN_TOKEN_MAX, "a token fits");
static_assert(1 + DIGEST_HEX_LEN < INSTANCE_MAX, "so does a digest");

static size_t append(char *buf, size_t len, const char *text, size_t text_len, size_t max)
{
	char hex[DIGEST_HEX_LEN + 1] UNINITIALIZED;

	if (text_len > max) {
		digest_hex(text, text_len, hex);
		buf[len++] = '#';
		text = hex;
		text_len = DIGEST_HEX_LEN;
	}
	memcpy(buf + len, text, text_len);
	return len + text_len;
}

/* What stands before the recipient; NULL: no recipient does. */
static const char *mark_of(enum charge_token token)
{
	switch (token) {
	case TOKEN_NONE:
	case TOKEN_MESSAGE:
		break;
	case TOKEN_RECIPIENT:
		return "/R/";
	case TOKEN_REFUSAL:
		return "/X/";
	}
	return NULL;
}

size_t plan_token(
    const struct config *config, const struct plan *plan, char buf[static PLAN_TOKEN_MAX])
{
	const struct slice instance = plan->facts->instance;
	const struct address *recipient = &plan->facts->recipient;
	const char *mark = mark_of(plan->token);
	size_t len;

	if (plan->token == TOKEN_NONE || instance.len == 0 ||
	    (mark && recipient->kind == ADDRESS_BAD))
		return 0;
	len = append(buf, 0, config->hostname, strlen(config->hostname), HOSTNAME_MAX);
	buf[len++] = '/';
	len = append(buf, len, instance.data, instance.len, INSTANCE_MAX);
	if (!mark)
		return len;
	memcpy(buf + len, mark, 3);
	return append(buf, len + 3, recipient->text, recipient->len, RECIPIENT_MAX);
}
