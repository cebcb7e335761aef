/* SPDX-License-Identifier: BSD-2-Clause */
#include "milter/callbacks.h"

#include "common/log.h"
#include "milter/counts.h"
#include "milter/session.h"

#include <libmilter/mfapi.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/*
 * Postfix keeps a milter connection for as long as its client's, and sends nothing while
 * a message comes in: 100 MB over a slow line take their time. What is idle for an hour
 * is dead.
 */
#define IDLE_S 3600

/* The kernel cuts it to net.core.somaxconn. */
#define BACKLOG 4096

/* Edits, and the macros that we ask for ourselves: no milter_*_macros line in main.cf. */
#define WANTED_ACTIONS (SMFIF_ADDHDRS | SMFIF_CHGHDRS | SMFIF_SETSYMLIST)

/*
 * No event that tells nothing new, no reply where there is nothing to say, header values
 * with their leading space as they stand in the message. All of it since Postfix 2.6; an
 * MTA that cannot is refused rather than served by guesswork.
 */
#define WANTED_STEPS                                                                     \
	(SMFIP_NOCONNECT | SMFIP_NORCPT | SMFIP_NODATA | SMFIP_NOUNKNOWN |               \
	 SMFIP_NR_HELO | SMFIP_NR_HDR | SMFIP_NR_EOH | SMFIP_NR_BODY |                   \
	 SMFIP_HDR_LEADSPC)

/* Stages whose macros nobody reads: a name without a value saves their packet, which an
 * empty list, meaning the defaults, would not. */
#define NO_MACRO "{postern_none}"

/* What is left for files, the log, status pages and commands. */
#define DESCRIPTORS_KEPT 64

static struct generation_slot *slot;
static unsigned long sessions_max;

static struct session *find_session(SMFICTX *ctx)
{
	struct session *session = smfi_getpriv(ctx);
	if (session || session_new(slot, &session) < 0)
		return session;
	if (smfi_setpriv(ctx, session) != MI_SUCCESS)
		return session_free(session);
	return session;
}

/* libmilter wants writable strings and does not write to them. */
static char *unconst(const char *text)
{
	return (char *)(uintptr_t)text;
}

static const char *macro(SMFICTX *ctx, const char *name)
{
	return smfi_getsymval(ctx, unconst(name));
}

static sfsistat answer(
    SMFICTX *ctx, enum session_answer answer, const struct session_reply *reply)
{
	switch (answer) {
	case SESSION_CONTINUE:
		return SMFIS_CONTINUE;
	case SESSION_ACCEPT:
		return SMFIS_ACCEPT;
	case SESSION_REFUSE:
		break;
	}
	counts_message(reply->code[0] == '4' ? COUNTED_DEFERRED : COUNTED_REFUSED);
	/* If it is not taken, the plain answer below still is. */
	if (smfi_setreply(
		ctx, unconst(reply->code), unconst(reply->dsn), unconst(reply->text)) !=
	    MI_SUCCESS)
		log_error(
		    "libmilter refused the reply \"%s %s %s\"; the client gets its own",
		    reply->code, reply->dsn, reply->text);
	return reply->code[0] == '4' ? SMFIS_TEMPFAIL : SMFIS_REJECT;
}

static sfsistat out_of_memory(void)
{
	counts_message(COUNTED_DEFERRED);
	log_error("a message is refused with 451, the client keeps it: out of memory");
	return SMFIS_TEMPFAIL;
}

/* A line a minute says so, however many are turned away. */
static void log_full(void)
{
	static atomic_llong next_s;
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	long long due_s = atomic_load(&next_s);
	if (now.tv_sec >= due_s &&
	    atomic_compare_exchange_strong(&next_s, &due_s, now.tv_sec + 60))
		log_error(
		    "%lu sessions are open, as many as the limit of descriptors allows: "
		    "further ones are turned away, the MTA answers by "
		    "milter_default_action; raise LimitNOFILE",
		    sessions_max);
}

static sfsistat on_negotiate(
    SMFICTX *ctx, unsigned long actions, unsigned long steps, unsigned long f2,
    unsigned long f3, unsigned long *ret_actions, unsigned long *ret_steps,
    unsigned long *ret_f2, unsigned long *ret_f3)
{
	(void)f2;
	(void)f3;
	if ((actions & WANTED_ACTIONS) != WANTED_ACTIONS ||
	    (steps & WANTED_STEPS) != WANTED_STEPS ||
	    smfi_setsymlist(
		ctx, SMFIM_ENVFROM,
		unconst("{daemon_port} {daemon_name} {client_addr} {client_name} "
			"{auth_authen} {tls_version} i j v")) != MI_SUCCESS ||
	    smfi_setsymlist(ctx, SMFIM_EOM, unconst("i")) != MI_SUCCESS ||
	    smfi_setsymlist(ctx, SMFIM_HELO, unconst(NO_MACRO)) != MI_SUCCESS ||
	    smfi_setsymlist(ctx, SMFIM_EOH, unconst(NO_MACRO)) != MI_SUCCESS) {
		log_error(
		    "the MTA does not offer what masking and signing need (actions %#lx, "
		    "steps %#lx): connection closed, it answers by "
		    "milter_default_action; "
		    "Postfix 2.6 or later is needed",
		    actions, steps);
		return SMFIS_REJECT;
	}
	if (!find_session(ctx))
		return out_of_memory();
	if (session_count() > sessions_max) {
		log_full();
		return SMFIS_REJECT;
	}
	*ret_actions = WANTED_ACTIONS;
	*ret_steps = WANTED_STEPS;
	*ret_f2 = *ret_f3 = 0;
	return SMFIS_CONTINUE;
}

static sfsistat on_helo(SMFICTX *ctx, char *name)
{
	struct session *session = find_session(ctx);
	/* Without memory MAIL will say so. */
	if (session)
		session_helo(session, name);
	return SMFIS_NOREPLY;
}

static sfsistat on_mail(SMFICTX *ctx, char **argv)
{
	struct session *session = find_session(ctx);
	struct session_reply reply;
	if (!session)
		return out_of_memory();
	struct arrival_told told = {
	    .sender = argv[0],
	    .esmtp = argv[0] && argv[1],
	    .daemon_port = macro(ctx, "{daemon_port}"),
	    .daemon_name = macro(ctx, "{daemon_name}"),
	    .client_addr = macro(ctx, "{client_addr}"),
	    .client_name = macro(ctx, "{client_name}"),
	    .auth_authen = macro(ctx, "{auth_authen}"),
	    .tls_version = macro(ctx, "{tls_version}"),
	    .hostname = macro(ctx, "j"),
	    .version = macro(ctx, "v"),
	    .queue_id = macro(ctx, "i"),
	};
	for (char **arg = argv; *arg; arg++)
		told.smtputf8 = told.smtputf8 || strcasecmp(*arg, "SMTPUTF8") == 0;
	return answer(ctx, session_mail(session, &told, &reply), &reply);
}

static sfsistat on_header(SMFICTX *ctx, char *name, char *value)
{
	struct session *session = smfi_getpriv(ctx);
	if (session)
		session_header(session, name, value);
	return SMFIS_NOREPLY;
}

static sfsistat on_end_of_headers(SMFICTX *ctx)
{
	struct session *session = smfi_getpriv(ctx);
	if (session)
		session_end_of_headers(session);
	return SMFIS_NOREPLY;
}

static sfsistat on_body(SMFICTX *ctx, unsigned char *bytes, size_t len)
{
	struct session *session = smfi_getpriv(ctx);
	if (session)
		session_body(session, bytes, len);
	return SMFIS_NOREPLY;
}

/* NULL: all edits are made; else the first that was not taken. */
static const char *apply(SMFICTX *ctx, const struct plan *plan)
{
	for (size_t i = 0; i < plan->count; i++) {
		const struct edit *edit = &plan->edits[i];
		switch (edit->kind) {
		case EDIT_INSERT:
			if (smfi_insheader(ctx, edit->index, edit->name, edit->value) !=
			    MI_SUCCESS)
				return edit->name;
			break;
		case EDIT_CHANGE:
		case EDIT_DELETE:
			if (smfi_chgheader(ctx, edit->name, edit->index, edit->value) !=
			    MI_SUCCESS)
				return edit->name;
			break;
		}
	}
	return NULL;
}

static sfsistat on_end_of_message(SMFICTX *ctx)
{
	struct session *session = smfi_getpriv(ctx);
	struct session_reply reply;
	struct plan plan;
	if (!session)
		return out_of_memory();
	enum session_answer result =
	    session_end_of_message(session, macro(ctx, "i"), &plan, &reply);
	if (result == SESSION_CONTINUE)
		result = session_edited(session, apply(ctx, &plan), &reply);
	plan_done(&plan);
	session_message_done(session);
	return answer(ctx, result, &reply);
}

static sfsistat on_abort(SMFICTX *ctx)
{
	struct session *session = smfi_getpriv(ctx);
	if (session)
		session_message_done(session);
	return SMFIS_CONTINUE;
}

/* Called for every connection, also for one that left before it said anything. */
static sfsistat on_close(SMFICTX *ctx)
{
	struct session *session = smfi_getpriv(ctx);
	if (!session)
		return SMFIS_CONTINUE;
	smfi_setpriv(ctx, NULL);
	session_free(session);
	return SMFIS_CONTINUE;
}

int callbacks_open(int fd, struct generation_slot *generations, size_t descriptors)
{
	static char name[] = "postern";
	char address[16];
	struct smfiDesc description = {
	    .xxfi_name = name,
	    .xxfi_version = SMFI_VERSION,
	    .xxfi_flags = WANTED_ACTIONS,
	    .xxfi_helo = on_helo,
	    .xxfi_envfrom = on_mail,
	    .xxfi_header = on_header,
	    .xxfi_eoh = on_end_of_headers,
	    .xxfi_body = on_body,
	    .xxfi_eom = on_end_of_message,
	    .xxfi_abort = on_abort,
	    .xxfi_close = on_close,
	    .xxfi_negotiate = on_negotiate,
	};
	slot = generations;
	sessions_max =
	    descriptors -
	    (descriptors / 4 < DESCRIPTORS_KEPT ? descriptors / 4 : DESCRIPTORS_KEPT);
	/* Debian's libmilter takes a descriptor that somebody else listens on. */
	snprintf(address, sizeof(address), "fd:%d", fd);
	if (smfi_setconn(address) != MI_SUCCESS ||
	    smfi_register(description) != MI_SUCCESS ||
	    smfi_settimeout(IDLE_S) != MI_SUCCESS ||
	    smfi_setbacklog(BACKLOG) != MI_SUCCESS ||
	    smfi_opensocket(false) != MI_SUCCESS) {
		log_error(
		    "libmilter does not take the listening socket %s; this build needs "
		    "Debian's libmilter",
		    address);
		return -1;
	}
	return 0;
}

void callbacks_serve(void)
{
	smfi_main();
}
