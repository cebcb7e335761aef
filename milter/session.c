/* SPDX-License-Identifier: BSD-2-Clause */
#include "milter/session.h"

#include "common/cleanup.h"
#include "common/dkim_key.h"
#include "common/log.h"
#include "common/printable.h"
#include "common/token.h"
#include "milter/author.h"
#include "milter/counts.h"
#include "milter/permit.h"
#include "milter/release.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum fault {
	FAULT_NONE,
	FAULT_MESSAGE, /* the message cannot be signed */
	FAULT_OWN,     /* signing failed; on_error decides */
	FAULT_FATAL, /* the headers are not known: neither signing nor masking is possible
		      */
};

struct message {
	struct generation *generation;
	struct headers headers;
	struct signature *signature; /* NULL: not to be signed, or a fault */
	struct chosen_key keys[CHOSEN_KEYS_MAX];
	size_t keys_count;

	struct arrival arrival;
	struct address author;
	bool sign; /* when author and agreement allow */
	bool mask;
	bool headers_ended;
	size_t received_masked; /* fields of the message, this hop's included */

	enum fault fault;
	char fault_text[SIGN_ERROR_TEXT_MAX];
	char unsigned_why[200]; /* "": signed, or nobody asked */
	enum log_level unsigned_level;
};

struct session {
	struct generation_slot *slot;
	struct message *message;
	char helo[ARRIVAL_WORD_MAX];
};

static atomic_ulong messages, sessions;
static atomic_bool leaving;

static struct message *message_free(struct message *message)
{
	if (!message)
		return NULL;
	/* The signature points into the generation. */
	signature_free(message->signature);
	headers_done(&message->headers);
	generation_unref(message->generation);
	free(message);
	atomic_fetch_sub(&messages, 1);
	return NULL;
}

int session_new(struct generation_slot *slot, struct session **ret)
{
	struct session *session = calloc(1, sizeof(*session));
	if (!session)
		return -ENOMEM;
	session->slot = slot;
	atomic_fetch_add(&sessions, 1);
	*ret = session;
	return 0;
}

struct session *session_free(struct session *session)
{
	if (!session)
		return NULL;
	message_free(session->message);
	free(session);
	atomic_fetch_sub(&sessions, 1);
	return NULL;
}

void session_helo(struct session *session, const char *name)
{
	arrival_copy_word(session->helo, sizeof(session->helo), name);
}

void session_message_done(struct session *session)
{
	session->message = message_free(session->message);
}

/* ---- MAIL ---- */

__attribute__((format(printf, 4, 5))) static enum session_answer refuse(
    struct session_reply *reply, const char *code, const char *dsn, const char *format,
    ...)
{
	char text[sizeof(reply->text)];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	reply->code = code;
	reply->dsn = dsn;
	printable_ascii(reply->text, sizeof(reply->text), text, strlen(text));
	/* smfi_setreply() takes it for a format. */
	for (char *at = reply->text; *at; at++) {
		if (*at == '%')
			*at = '_';
	}
	return SESSION_REFUSE;
}

static enum session_answer refuse_for_now(struct session_reply *reply, const char *why)
{
	return refuse(
	    reply, "451", "4.7.1",
	    "Postern cannot handle this message now (%s), try again later", why);
}

/* The facts of sign_permitted(); the author is known later. */
static struct sign_facts sign_facts_of(const struct message *message)
{
	return (struct sign_facts){
	    .local = message->arrival.local,
	    .user = &message->arrival.user,
	    .relay = message->arrival.relay,
	    .sender = &message->arrival.sender,
	    .author = &message->author,
	};
}

enum session_answer session_mail(
    struct session *session, const struct arrival_told *told,
    struct session_reply *ret_reply)
{
	session_message_done(session);
	if (atomic_load(&leaving))
		return refuse_for_now(ret_reply, "shutting down");
	struct message *message = calloc(1, sizeof(*message));
	if (!message)
		return refuse_for_now(ret_reply, "out of memory");
	atomic_fetch_add(&messages, 1);
	message->generation = generation_slot_get(session->slot);
	session->message = message;

	const struct config *config = message->generation->config;
	arrival_read(config, told, time(NULL), &message->arrival);
	struct sign_facts facts = sign_facts_of(message);
	message->sign = config->milter.dkim.keys_count > 0 && sign_possible(&facts);
	message->mask = message->arrival.masked_port;

	if (config->milter.mask.ports.count > 0 && message->arrival.port_missing) {
		log_error(
		    "client=%s is refused with 451: the MTA does not tell {daemon_port}, "
		    "so nobody knows whether milter.mask.ports applies; Postfix 3.2 or "
		    "later is needed",
		    message->arrival.client_addr);
		session_message_done(session);
		return refuse_for_now(ret_reply, "port not known");
	}
	if (!message->sign && !message->mask) {
		session_message_done(session);
		counts_message(COUNTED_UNTOUCHED);
		return SESSION_ACCEPT;
	}
	if (message->mask)
		release_warn_once(told->version);
	return SESSION_CONTINUE;
}

/* ---- headers and body ---- */

__attribute__((format(printf, 3, 4))) static void not_signed(
    struct message *message, enum log_level level, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(message->unsigned_why, sizeof(message->unsigned_why), format, args);
	va_end(args);
	message->unsigned_level = level;
	message->sign = false;
}

/* What sign.h returned: 0, SIGN_UNSIGNABLE or a negative errno. */
static void take_fault(struct message *message, int r)
{
	if (r == 0)
		return;
	char text[SIGN_ERROR_TEXT_MAX];
	printable_ascii(
	    text, sizeof(text), message->fault_text, strlen(message->fault_text));
	strcpy(message->fault_text, text);
	message->fault = r == SIGN_UNSIGNABLE ? FAULT_MESSAGE : FAULT_OWN;
	message->sign = false;
	message->signature = signature_free(message->signature);
}

void session_header(struct session *session, const char *name, const char *value)
{
	struct message *message = session->message;
	if (message && headers_add(&message->headers, name, value) < 0) {
		message->fault = FAULT_FATAL;
		snprintf(
		    message->fault_text, sizeof(message->fault_text), "out of memory");
	}
}

static bool find_author(struct message *message)
{
	const struct config *config = message->generation->config;
	const struct headers *headers = &message->headers;
	size_t count = headers_count(headers, "From");
	if (count == 0) {
		not_signed(message, LOG_LEVEL_INFO, "no From header");
		return false;
	}
	if (count > 1) {
		not_signed(message, LOG_LEVEL_INFO, "%zu From headers", count);
		return false;
	}
	size_t i = 0;
	while (!header_is(headers, i, "From"))
		i++;
	enum author_result result = author_parse(
	    header_value(headers, i), headers->items[i].value_len,
	    config->recipient_delimiter, &message->author);
	if (result != AUTHOR_ONE)
		not_signed(
		    message, LOG_LEVEL_INFO, "the From header %s",
		    author_result_text(result));
	return result == AUTHOR_ONE;
}

static bool key_signs(const void *gate, const struct domain *domain, size_t place)
{
	return gate_view_signs(gate, domain, place);
}

static bool find_keys(struct message *message)
{
	const struct config *config = message->generation->config;
	const struct domain *domain;
	struct sign_facts facts = sign_facts_of(message);
	enum sign_permit permit = sign_permitted(config, &facts, &domain);
	char author[300];
	if (permit != SIGN_PERMITTED) {
		printable(
		    author, sizeof(author), address_domain(&message->author),
		    message->author.domain_len);
		/* Mail of other domains is the daily bread of a relay host. */
		not_signed(
		    message, permit == SIGN_NOT_SERVED ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO,
		    "author domain %.60s: %s", author, sign_permit_text(permit));
		return false;
	}
	if (domain->dkim_count == 0) {
		not_signed(
		    message, LOG_LEVEL_DEBUG, "domain %.100s has no dkim keys",
		    domain->name);
		return false;
	}
	const struct key_filter filter = {key_signs, message->generation->gate};
	message->keys_count = choose_keys(config, domain, &filter, message->keys);
	/* The gate has said so when it began. */
	if (message->keys_count == 0)
		not_signed(
		    message, LOG_LEVEL_DEBUG, "no key of domain %.100s is published",
		    domain->name);
	return message->keys_count > 0;
}

static void begin_signature(struct message *message)
{
	if (!find_author(message) || !find_keys(message))
		return;
	struct signature_params params = {
	    .signer = message->generation->signer,
	    .keys = message->keys,
	    .keys_count = message->keys_count,
	    .id = message->arrival.queue_id,
	    .masked = message->mask,
	};
	take_fault(
	    message,
	    signature_new(
		&params, &message->headers, &message->signature, message->fault_text));
}

void session_end_of_headers(struct session *session)
{
	struct message *message = session->message;
	if (!message)
		return;
	message->headers_ended = true;
	if (message->fault != FAULT_NONE)
		return;
	if (message->headers.over) {
		snprintf(
		    message->fault_text, sizeof(message->fault_text),
		    "more than %d headers or %d bytes of them", HEADERS_MAX,
		    HEADERS_MAX_BYTES);
		message->fault = FAULT_MESSAGE;
		return;
	}
	if (message->sign)
		begin_signature(message);
}

void session_body(struct session *session, const unsigned char *bytes, size_t len)
{
	struct message *message = session->message;
	if (message && message->signature)
		take_fault(
		    message,
		    signature_body(message->signature, bytes, len, message->fault_text));
}

/* ---- end of message ---- */

/* CONTINUE: no fault, or one that on_error lets pass without a signature. */
static enum session_answer answer_fault(
    const struct message *message, struct session_reply *reply)
{
	const struct config *config = message->generation->config;
	switch (message->fault) {
	case FAULT_NONE:
		return SESSION_CONTINUE;
	case FAULT_MESSAGE:
		log_info(
		    "queue_id=%s is refused with 554: it cannot leave as configured: %s",
		    message->arrival.queue_id, message->fault_text);
		return refuse(
		    reply, "554", "5.6.0", "Message refused by Postern: %s",
		    message->fault_text);
	case FAULT_OWN:
		if (config->milter.dkim.accept_on_error) {
			log_error(
			    "queue_id=%s leaves unsigned, as milter.dkim.on_error says: "
			    "%s",
			    message->arrival.queue_id, message->fault_text);
			return SESSION_CONTINUE;
		}
		break;
	case FAULT_FATAL:
		break;
	}
	log_error(
	    "queue_id=%s is refused with 451, the client keeps it: %s",
	    message->arrival.queue_id, message->fault_text);
	return refuse_for_now(reply, "signing failed");
}

/* "" when nothing is masked or no key seals. -EIO: it could not be sealed. */
static int make_token(const struct message *message, char ret[static TOKEN_TEXT_MAX])
{
	const struct token_keys *keys = message->generation->config->milter.mask.tokens;
	const struct arrival *arrival = &message->arrival;
	struct token_subject subject = {
	    .client = arrival->client.ip,
	    .time_s = arrival->hop.time,
	};

	ret[0] = '\0';
	if (!message->mask || !keys)
		return 0;
	size_t len = strnlen(arrival->login, TOKEN_LOGIN_MAX);
	memcpy(subject.login, arrival->login, len);
	return token_seal(keys, &subject, ret);
}

static int make_plan(
    struct session *session, const struct signed_values *values, const char *token,
    struct plan *ret)
{
	struct message *message = session->message;
	struct plan_input input = {
	    .config = message->generation->config,
	    .headers = &message->headers,
	    .mask = message->mask,
	    .hop = message->arrival.hop,
	    .client =
		{
		    .address = message->arrival.client_addr,
		    .name = message->arrival.client_name,
		    .helo = session->helo,
		    .login = message->arrival.login,
		},
	    .signatures = values->items,
	    .signatures_count = values->count,
	};
	input.hop.token = token;
	return plan_make(&input, ret);
}

/* Fields that are changed or deleted; this hop's own is inserted and deleted. */
static size_t count_received(const struct plan *plan)
{
	size_t count = 0;
	for (size_t i = 0; i < plan->count; i++)
		if (plan->edits[i].kind != EDIT_INSERT &&
		    strcasecmp(plan->edits[i].name, "Received") == 0)
			count++;
	return count;
}

enum session_answer session_end_of_message(
    struct session *session, const char *queue_id, struct plan *ret,
    struct session_reply *ret_reply)
{
	struct message *message = session->message;
	CLEANUP(signed_values_done) struct signed_values values = {0};
	*ret = (struct plan){0};
	if (!message)
		return refuse_for_now(ret_reply, "no message under way");
	arrival_set_queue_id(&message->arrival, queue_id);

	if (!message->headers_ended && message->fault == FAULT_NONE) {
		message->fault = FAULT_FATAL;
		snprintf(
		    message->fault_text, sizeof(message->fault_text),
		    "the MTA ended the message before its headers");
	}
	if (message->signature && message->fault == FAULT_NONE) {
		int r =
		    signature_finish(message->signature, &values, message->fault_text);
		if (r != 0)
			take_fault(message, r);
	}
	enum session_answer answer = answer_fault(message, ret_reply);
	if (answer != SESSION_CONTINUE)
		return answer;
	char token[TOKEN_TEXT_MAX];
	if (make_token(message, token) < 0) {
		log_error(
		    "queue_id=%s is refused with 451, the client keeps it: the token of "
		    "its masked header could not be sealed",
		    message->arrival.queue_id);
		return refuse_for_now(ret_reply, "masking failed");
	}
	if (make_plan(session, &values, token, ret) < 0) {
		log_error(
		    "queue_id=%s is refused with 451, the client keeps it: out of memory",
		    message->arrival.queue_id);
		return refuse_for_now(ret_reply, "out of memory");
	}
	if (ret->count > PLAN_EDITS_MAX) {
		plan_done(ret);
		message->fault = FAULT_MESSAGE;
		snprintf(
		    message->fault_text, sizeof(message->fault_text),
		    "more than %d headers to be masked or removed", PLAN_EDITS_MAX);
		return answer_fault(message, ret_reply);
	}
	message->received_masked = count_received(ret);
	return SESSION_CONTINUE;
}

/* " d=... s=... a=..." for each signature. */
static void describe_keys(const struct message *message, char *buf, size_t size)
{
	size_t len = 0;
	for (size_t i = 0; i < message->keys_count && len < size; i++) {
		const struct chosen_key *chosen = &message->keys[i];
		len += (size_t)snprintf(
		    buf + len, size - len, " d=%s s=%s a=%s", chosen->domain,
		    chosen->key->selector,
		    dkim_algorithm_name(chosen->key->key->algorithm));
	}
}

static void log_message(const struct message *message)
{
	const char *masked = message->mask ? " received=masked" : "";
	if (message->signature) {
		size_t long_lines = signature_long_lines(message->signature);
		char keys[CHOSEN_KEYS_MAX * 400] = "";
		describe_keys(message, keys, sizeof(keys));
		log_info(
		    "queue_id=%s signed%s%s", message->arrival.queue_id, keys, masked);
		if (long_lines > 0)
			log_info(
			    "queue_id=%s has %zu lines of more than %d bytes: Postfix "
			    "folds them on delivery, which breaks the signature; the "
			    "sender's program should fold or encode them",
			    message->arrival.queue_id, long_lines, BODY_LONG_LINE);
		return;
	}
	if (message->unsigned_why[0])
		log_line(
		    message->unsigned_level, "queue_id=%s unsigned: %s%s",
		    message->arrival.queue_id, message->unsigned_why, masked);
	else
		log_debug("queue_id=%s%s", message->arrival.queue_id, masked);
}

static void count_message(const struct message *message)
{
	counts_masked(message->received_masked);
	if (message->signature) {
		counts_message(COUNTED_SIGNED);
		for (size_t i = 0; i < message->keys_count; i++)
			counts_signature(message->keys[i].key->key->algorithm);
	} else {
		bool asked = message->unsigned_why[0] || message->fault == FAULT_OWN;
		counts_message(asked ? COUNTED_UNSIGNED : COUNTED_MASKED);
	}
}

enum session_answer session_edited(
    struct session *session, const char *failed, struct session_reply *ret_reply)
{
	struct message *message = session->message;
	if (!failed) {
		count_message(message);
		log_message(message);
		return SESSION_CONTINUE;
	}
	log_error(
	    "queue_id=%s is refused with 451, the client keeps it: the MTA did not take "
	    "the change of a header (%s)",
	    message->arrival.queue_id, failed);
	return refuse_for_now(ret_reply, "headers not changed");
}

void session_refuse_new(void)
{
	atomic_store(&leaving, true);
}

unsigned long session_messages(void)
{
	return atomic_load(&messages);
}

unsigned long session_count(void)
{
	return atomic_load(&sessions);
}
