/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * {"command": "block"}, "unblock", "blocks" and "login": blocks at run time and recorded
 * logins. A change is in force on this node when the reply comes; the reply waits for
 * Redis, as long as one call to it may take, only to tell whether the others know too.
 */

#include "common/log.h"
#include "common/printable.h"
#include "policyd/block_subject.h"
#include "policyd/control_commands.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Ten years: what is longer has no end. */
#define FOR_MAX_S (UINT64_C(10) * 366 * 86400)

/* Of texts that are cut, not refused: a login must not fail because of a long name. */
#define TEXT_MAX 4096

/* What a reply waits for. */
struct told {
	struct control_request *request;
	json_t *reply;
	bool has_redis;
};

static void on_told(void *context, bool shared)
{
	struct told *told = context;

	json_object_set_new(told->reply, "shared", json_boolean(shared));
	if (!shared && told->has_redis)
		json_object_set_new(
		    told->reply, "note",
		    json_string("Redis is away: the other nodes are told when it is "
				"back"));
	control_reply(told->request, told->reply);
	free(told);
}

/* Takes @reply, which may be NULL. */
static void reply_when_told(
    struct control_context *context, struct control_request *request, json_t *reply)
{
	struct told *told = reply ? calloc(1, sizeof(*told)) : NULL;

	if (!told) {
		json_decref(reply);
		control_reply(request, NULL);
		return;
	}
	told->request = request;
	told->reply = reply;
	told->has_redis = context->config->has_redis;
	roster_when_told(context->roster, on_told, told);
}

/* Sets kind and subject of @ret; false: @request has been refused. */
static bool read_subject(
    struct control_context *context, struct control_request *request, const char *kind,
    const char *value, struct block *ret)
{
	char shown[160];

	ret->kind = block_kind_by_name(kind, strlen(kind));
	if (ret->kind == BLOCK_KINDS) {
		printable(shown, sizeof(shown), kind, strlen(kind));
		control_refuse(
		    request, CONTROL_WRONG_USE,
		    "%s cannot be blocked, expected client, user, sender or recipient",
		    shown);
		return false;
	}
	const char *wrong =
	    block_subject(context->config, ret->kind, value, strlen(value), ret->subject);
	if (wrong) {
		printable(shown, sizeof(shown), value, strlen(value));
		control_refuse(request, CONTROL_WRONG_USE, "%s %s", shown, wrong);
		return false;
	}
	return true;
}

/* What the client says, and who the kernel says it is. */
static void set_by(
    const struct control_context *context, const struct control_request *request,
    const char *said, char ret[static BLOCK_BY_MAX])
{
	const char *peer = control_request_peer(request);
	char text[256], name[48];

	if (!said) {
		snprintf(text, sizeof(text), "%s@%s", peer, context->config->hostname);
		printable(ret, BLOCK_BY_MAX, text, strlen(text));
		return;
	}
	size_t peer_len = strlen(peer);
	bool same = strncmp(said, peer, peer_len) == 0 && said[peer_len] == '@';
	printable(name, sizeof(name), said, strlen(said));
	snprintf(
	    text, sizeof(text), same ? "%s" : "%s (%.16s)", same ? said : name, peer);
	printable(ret, BLOCK_BY_MAX, text, strlen(text));
}

static void print_until(int64_t until_s, char buf[static 48])
{
	time_t time = (time_t)until_s;
	struct tm tm;

	if (until_s == 0)
		strcpy(buf, "it is lifted");
	else if (
	    !gmtime_r(&time, &tm) || strftime(buf, 48, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		snprintf(buf, 48, "%lld", (long long)until_s);
}

static void say_blocked(const struct block *block)
{
	char subject[256], reason[BLOCK_REASON_MAX], until[48];

	printable(subject, sizeof(subject), block->subject, strlen(block->subject));
	printable(reason, sizeof(reason), block->reason, strlen(block->reason));
	print_until(block->until_s, until);
	log_info(
	    "%s %s is blocked until %s by %s%s%s; lift it with: postern unblock %s %s",
	    block_kind_name(block->kind), subject, until, block->by,
	    reason[0] ? ": " : "", reason, block_kind_name(block->kind), subject);
}

void control_block(
    struct control_context *context, struct control_request *request,
    const json_t *message)
{
	const char *kind = NULL, *value = NULL, *reason = "", *by = NULL;
	uint64_t seconds = 0;
	bool ends = false;
	struct block block = {.since_s = time(NULL)};
	const struct control_member members[] = {
	    {"kind", CONTROL_TEXT, true, TEXT_MAX, &kind, NULL, NULL},
	    {"value", CONTROL_TEXT, true, TEXT_MAX, &value, NULL, NULL},
	    {"for", CONTROL_COUNT, false, FOR_MAX_S, NULL, &seconds, &ends},
	    {"reason", CONTROL_TEXT, false, TEXT_MAX, &reason, NULL, NULL},
	    {"by", CONTROL_TEXT, false, TEXT_MAX, &by, NULL, NULL},
	};

	if (!control_members(
		request, message, members, sizeof(members) / sizeof(members[0])) ||
	    !read_subject(context, request, kind, value, &block))
		return;
	if (ends && seconds == 0) {
		control_refuse(
		    request, CONTROL_WRONG_USE, "\"for\" is 0, expected seconds");
		return;
	}
	block.until_s = ends ? block.since_s + (int64_t)seconds : 0;
	snprintf(block.reason, sizeof(block.reason), "%s", reason);
	set_by(context, request, by, block.by);
	int r = blocks_put(context->parts.remembered.blocks, &block);
	if (r < 0) {
		control_refuse(
		    request, CONTROL_FAILED, "%s",
		    r == -ENOSPC ? "the table of blocks is full: lift some, or use "
				   "block.* in the configuration, which has room for "
				   "millions"
				 : strerror(-r));
		return;
	}
	say_blocked(&block);
	json_t *reply = json_pack("{s:s}", "subject", block.subject);
	if (reply)
		json_object_set_new(
		    reply, "until", ends ? json_integer(block.until_s) : json_null());
	reply_when_told(context, request, reply);
}

void control_unblock(
    struct control_context *context, struct control_request *request,
    const json_t *message)
{
	const char *kind = NULL, *value = NULL, *by = NULL;
	char who[BLOCK_BY_MAX], shown[256];
	struct block block;
	const struct control_member members[] = {
	    {"kind", CONTROL_TEXT, true, TEXT_MAX, &kind, NULL, NULL},
	    {"value", CONTROL_TEXT, true, TEXT_MAX, &value, NULL, NULL},
	    {"by", CONTROL_TEXT, false, TEXT_MAX, &by, NULL, NULL},
	};

	if (!control_members(
		request, message, members, sizeof(members) / sizeof(members[0])) ||
	    !read_subject(context, request, kind, value, &block))
		return;
	printable(shown, sizeof(shown), block.subject, strlen(block.subject));
	if (!blocks_remove(context->parts.remembered.blocks, block.kind, block.subject)) {
		control_refuse(
		    request, CONTROL_NO_SUCH,
		    "no block of %s %s made at run time; `postern blocks` lists them, "
		    "those of the configuration are in block.*",
		    block_kind_name(block.kind), shown);
		return;
	}
	set_by(context, request, by, who);
	log_info(
	    "%s %s is blocked no more, by %s", block_kind_name(block.kind), shown, who);
	reply_when_told(context, request, json_pack("{s:s}", "subject", block.subject));
}

struct listing {
	json_t *list;
	bool failed;
};

static void list_block(void *context, const struct block *block)
{
	struct listing *listing = context;
	json_t *object = json_pack(
	    "{s:s, s:s, s:I, s:s, s:s, s:b}", "kind", block_kind_name(block->kind),
	    "subject", block->subject, "since", (json_int_t)block->since_s, "by",
	    block->by, "reason", block->reason, "automatic", (int)block->automatic);

	if (!object ||
	    json_object_set_new(
		object, "until",
		block->until_s ? json_integer(block->until_s) : json_null()) < 0 ||
	    json_array_append(listing->list, object) < 0)
		listing->failed = true;
	json_decref(object);
}

void control_blocks(
    struct control_context *context, struct control_request *request,
    const json_t *message)
{
	struct listing listing = {.list = json_array()};

	if (!control_members(request, message, NULL, 0)) {
		json_decref(listing.list);
		return;
	}
	if (listing.list)
		blocks_each(
		    context->parts.remembered.blocks, time(NULL), list_block, &listing);
	if (!listing.list || listing.failed) {
		json_decref(listing.list);
		control_reply(request, NULL);
		return;
	}
	control_reply(request, json_pack("{s:o}", "blocks", listing.list));
}

void control_login(
    struct control_context *context, struct control_request *request,
    const json_t *message)
{
	const char *ip = NULL, *user = "";
	char shown[64];
	struct login login = {.at_s = time(NULL)};
	const struct control_member members[] = {
	    {"ip", CONTROL_TEXT, true, TEXT_MAX, &ip, NULL, NULL},
	    {"user", CONTROL_TEXT, false, TEXT_MAX, &user, NULL, NULL},
	};

	if (!control_members(
		request, message, members, sizeof(members) / sizeof(members[0])))
		return;
	if (!ip_parse(ip, strlen(ip), &login.ip)) {
		printable(shown, sizeof(shown), ip, strlen(ip));
		control_refuse(
		    request, CONTROL_WRONG_USE,
		    "\"%s\" is no address, expected one such as 192.0.2.7", shown);
		return;
	}
	if (context->config->relay.login_grace_s == 0) {
		control_reply(
		    request,
		    json_pack(
			"{s:b, s:s}", "recorded", 0, "note",
			"relay.login_grace is 0s: logins grant nothing and are not "
			"recorded"));
		return;
	}
	printable(login.user, sizeof(login.user), user, strlen(user));
	if (logins_put(context->parts.remembered.logins, &login) < 0)
		control_reply(request, NULL);
	else
		control_reply(request, json_pack("{s:b}", "recorded", 1));
}
