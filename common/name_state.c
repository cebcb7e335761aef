/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/name_state.h"

#include "common/cleanup.h"
#include "common/list_places.h"
#include "common/printable.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Per name: SPF's ten look-ups, each an MX with ten exchangers, in both families. */
#define QUESTIONS_MAX 250

struct name_question {
	struct name *name;
	char *text;
	enum dns_type type;
	bool asked;
	bool failed; /* without having been asked */
	struct dns_answer *answer;
};

static const struct dns_answer in_vain = {
    .status = DNS_FAILED, .error = "no answer in time"};
static const struct dns_answer too_many = {
    .status = DNS_FAILED, .error = "too many questions"};

/* ---- questions ---- */

void name_reset(struct name *name)
{
	assert(name->questions_open == 0);
	for (size_t i = 0; i < name->questions_count; i++) {
		dns_answer_free(name->questions[i]->answer);
		free(name->questions[i]->text);
		free(name->questions[i]);
	}
	name->questions_count = 0;
	name->running = name->dirty = false;
}

static struct name_question *find_question(
    const struct name *name, const char *text, enum dns_type type)
{
	for (size_t i = 0; i < name->questions_count; i++)
		if (name->questions[i]->type == type &&
		    strcmp(name->questions[i]->text, text) == 0)
			return name->questions[i];
	return NULL;
}

static struct name_question *add_question(
    struct name *name, const char *text, enum dns_type type)
{
	void *questions = name->questions;
	int r = list_grow(
	    &questions, &name->questions_capacity, name->questions_count + 1,
	    sizeof(struct name_question *));
	name->questions = questions;
	struct name_question *question = r ? NULL : calloc(1, sizeof(*question));
	if (!question)
		return NULL;
	question->text = strdup(text);
	if (!question->text) {
		free(question);
		return NULL;
	}
	question->name = name;
	question->type = type;
	name->questions[name->questions_count++] = question;
	return question;
}

/* A name_source's look_up: notes what is not there. */
static const struct dns_answer *look_up(
    void *context, const char *text, enum dns_type type)
{
	struct name *name = context;
	struct name_question *question = find_question(name, text, type);

	if (question)
		return question->failed ? &in_vain : question->answer;
	if (name->questions_count >= QUESTIONS_MAX)
		return &too_many;
	return add_question(name, text, type) ? NULL : &in_vain;
}

static void on_answer(void *context, struct dns_answer *answer)
{
	struct name_question *question = context;

	question->answer = answer;
	question->name->questions_open--;
	question->name->dirty = true;
}

/* Asks what was noted. False: there is nothing to ask, or no more time. */
static bool ask(struct name *name, struct dns *dns, int64_t now_ms)
{
	if (!dns || now_ms >= name->deadline_ms)
		return false;
	/* An answer can come at once, and is then found at the next advance. */
	for (size_t i = 0; i < name->questions_count; i++) {
		struct name_question *question = name->questions[i];
		if (question->asked)
			continue;
		question->asked = true;
		name->questions_open++;
		dns_ask(dns, question->text, question->type, on_answer, question);
	}
	return true;
}

/* ---- telling ---- */

__attribute__((format(printf, 4, 5))) static void tell(
    const struct name *name, names_say *say, enum log_level level, const char *format,
    ...)
{
	char text[700], line[1400];
	va_list args;
	int n = snprintf(
	    text, sizeof(text), "%s entry %s at %.200s:%u: ", name->label, name->text,
	    name->where.file, name->where.line);

	va_start(args, format);
	if (n > 0 && (size_t)n < sizeof(text))
		vsnprintf(text + n, sizeof(text) - (size_t)n, format, args);
	va_end(args);
	printable(line, sizeof(line), text, strlen(text));
	say(level, line);
}

static size_t networks_count(const struct name *name)
{
	return name->networks.v4.count + name->networks.v6.count;
}

/* ---- settling ---- */

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
	return value < low ? low : value > high ? high : value;
}

static int64_t backoff_ms(const struct name *name, const struct name_times *times)
{
	unsigned doublings = name->failures < 16 ? name->failures : 16;

	return clamp(times->retry_ms << doublings, 0, times->floor_ms);
}

/* Replaces what the name stands for; says "+2 -1 networks" when that differs. */
static void replace(
    struct name *name, struct name_networks *found, enum log_level level,
    const char *because, names_say *say)
{
	struct name_networks *old = &name->networks;
	size_t added = ip_set_count_missing(&found->v4, &old->v4) +
		       ip_set_count_missing(&found->v6, &old->v6);
	size_t removed = ip_set_count_missing(&old->v4, &found->v4) +
			 ip_set_count_missing(&old->v6, &found->v6);
	bool new_note = found->note[0] && strcmp(found->note, old->note) != 0;

	name->changed |= added || removed || !name->resolved;
	if (added || removed || !name->resolved)
		tell(
		    name, say, level, "%s%s+%zu -%zu networks", because,
		    because[0] ? ": " : "", added, removed);
	if (new_note)
		tell(name, say, LOG_LEVEL_WARNING, "%s", found->note);
	name_networks_done(old);
	*old = *found;
	*found = (struct name_networks){0};
	name->resolved = true;
}

static void settle_found(
    struct name *name, struct name_networks *found, int64_t now_ms,
    const struct name_times *times, names_say *say)
{
	int64_t ttl_ms = (int64_t)found->ttl_s * 1000;

	if (name->resolved && name->told != TROUBLE_NONE)
		tell(name, say, LOG_LEVEL_INFO, "DNS answers again");
	replace(name, found, LOG_LEVEL_INFO, "", say);
	name->told = TROUBLE_NONE;
	name->good_ms = now_ms;
	name->due_ms = now_ms + clamp(ttl_ms, times->floor_ms, times->ceiling_ms);
	name->failures = name->empties = 0;
}

static void settle_empty(
    struct name *name, struct name_networks *found, int64_t now_ms,
    const struct name_times *times, names_say *say)
{
	name->failures = 0;
	if (++name->empties < 2) {
		/* Who had an answer is asked again after a while, who had none soon. */
		name->due_ms =
		    now_ms + (name->resolved ? times->floor_ms : times->retry_ms);
		return;
	}
	if (!name->resolved || networks_count(name)) {
		struct name_networks nothing = {0};
		char because[sizeof(found->error)];
		memcpy(because, found->error, sizeof(because));
		replace(name, &nothing, LOG_LEVEL_WARNING, because, say);
	}
	name->told = TROUBLE_EMPTY;
	name->good_ms = now_ms;
	name->due_ms = now_ms + times->floor_ms;
}

static void settle_failed(
    struct name *name, enum name_trouble trouble, const char *error, int64_t now_ms,
    const struct name_times *times, names_say *say)
{
	int64_t age_ms = now_ms - name->good_ms;

	name->due_ms = now_ms + backoff_ms(name, times);
	name->failures++;
	if (name->resolved && age_ms >= times->age_ms) {
		tell(
		    name, say, LOG_LEVEL_WARNING,
		    "%s; the last good answer is %" PRId64
		    " minutes old and withdrawn: -%zu networks",
		    error, age_ms / 60000, networks_count(name));
		name_networks_done(&name->networks);
		name->networks = (struct name_networks){0};
		name->resolved = false;
		name->changed = true;
	} else if (name->told != trouble) {
		tell(
		    name, say, LOG_LEVEL_WARNING, "%s; %s", error,
		    name->resolved ? "the last good answer is kept"
				   : "it matches nobody until DNS gives a good answer, "
				     "whom it would let in is deferred");
	}
	name->told = trouble;
}

void name_settle(
    struct name *name, int result, struct name_networks *found, int64_t now_ms,
    const struct name_times *times, names_say *say)
{
	name->tried = true;
	switch (result) {
	case NAME_FOUND:
		settle_found(name, found, now_ms, times, say);
		break;
	case NAME_EMPTY:
		settle_empty(name, found, now_ms, times, say);
		break;
	case NAME_PERMANENT:
		settle_failed(name, TROUBLE_PERMANENT, found->error, now_ms, times, say);
		break;
	case NAME_TEMPORARY:
		settle_failed(name, TROUBLE_TEMPORARY, found->error, now_ms, times, say);
		break;
	default: /* -ENOMEM */
		settle_failed(
		    name, TROUBLE_TEMPORARY, "out of memory", now_ms, times, say);
		break;
	}
}

/* ---- resolving ---- */

/* What is noted and cannot be asked any more has failed. */
static void fail_unasked(struct name *name)
{
	for (size_t i = 0; i < name->questions_count; i++)
		name->questions[i]->failed |= !name->questions[i]->answer;
}

/* Works out the name, and asks what is missing, until answers have to be waited for. */
static int work_out(
    struct name *name, struct dns *dns, int64_t now_ms, struct name_networks *ret)
{
	struct name_source source = {.look_up = look_up, .context = name};
	int result;

	do {
		name->dirty = false;
		name_networks_done(ret);
		result = name_networks_find(name->kind, name->domain, &source, ret);
		if (result != NAME_PENDING)
			break;
		if (ask(name, dns, now_ms))
			continue;
		if (name->questions_open)
			break;
		/* What fails may lead to further questions; they are bounded. */
		fail_unasked(name);
		name->dirty = true;
	} while (name->dirty);
	return result;
}

bool name_advance(
    struct name *name, struct dns *dns, int64_t now_ms, const struct name_times *times,
    names_say *say)
{
	CLEANUP(name_networks_done) struct name_networks found = {0};

	name->running = true;
	int result = work_out(name, dns, now_ms, &found);
	/* Answers on their way need their questions, wanted or not. */
	if (name->questions_open)
		return false;
	/* Pending with nothing open: an answer was lost for want of memory. */
	name_settle(
	    name, result == NAME_PENDING ? -ENOMEM : result, &found, now_ms, times, say);
	name_reset(name);
	return true;
}

struct name *name_free(struct name *name)
{
	if (!name)
		return NULL;
	name_reset(name);
	free(name->questions);
	name_networks_done(&name->networks);
	free(name->text);
	free(name->domain);
	free(name);
	return NULL;
}

DEFINE_CLEANUP(struct name, name_free)

int name_new(
    const char *text, const char *domain, enum host_dns_kind kind, struct name **ret)
{
	CLEANUP(name_freep) struct name *name = calloc(1, sizeof(*name));

	if (!name)
		return -ENOMEM;
	name->text = strdup(text);
	name->domain = strdup(domain);
	if (!name->text || !name->domain)
		return -ENOMEM;
	name->kind = kind;
	*ret = TAKE(name);
	return 0;
}
