/* SPDX-License-Identifier: BSD-2-Clause */
#include "milter/gate_view.h"

#include "common/cleanup.h"
#include "common/digest.h"
#include "common/dkim_key.h"
#include "common/dkim_record.h"
#include "common/metrics.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

DEFINE_CLEANUP(struct gate_view, gate_view_unref)

static void string_freep(char **string)
{
	free(*string);
}

static const struct dkim_key_config *key_at(
    const struct gate_view *view, const struct domain *domain, size_t place)
{
	return &view->config->milter.dkim.keys[domain->dkim[place]];
}

/* Names the record, the key, and whether DNS is asked. */
static char *make_identity(const char *record, const char *fingerprint, bool require_dns)
{
	char *identity;
	int n =
	    asprintf(&identity, "%s %s%s", record, fingerprint, require_dns ? "" : "-");
	return n < 0 ? NULL : identity;
}

static struct gate_pair *find(const struct gate_view *view, const char *identity)
{
	struct gate_pair *pair;
	HASH_FIND(hh, view->index, identity, strlen(identity), pair);
	return pair;
}

/* NULL: no memory. The array has room for all. */
static struct gate_pair *add_pair(
    struct gate_view *view, const struct dkim_key_config *key,
    const struct domain *domain)
{
	const char *name = key->domain[0] ? key->domain : domain->name;
	const char *public = key->key->public_base64 ? key->key->public_base64 : "";
	char digest[DIGEST_HEX_LEN + 1];
	CLEANUP(string_freep) char *record = dkim_record_name(key->selector, name);
	if (!record)
		return NULL;
	digest_hex(public, strlen(public), digest);
	digest[GATE_FINGERPRINT_LEN] = '\0';
	CLEANUP(string_freep)
	char *identity = make_identity(record, digest, key->require_dns);
	if (!identity)
		return NULL;
	struct gate_pair *pair = find(view, identity);
	if (pair)
		return pair;

	pair = &view->pairs[view->pairs_count];
	*pair = (struct gate_pair){
	    .key = key,
	    .domain = name,
	    .served = domain,
	    .series = METRICS_NO_SERIES,
	    .state = {.last = GATE_NO_ANSWER},
	    .identity = identity,
	};
	pair->state.seen.state = key->require_dns ? GATE_UNKNOWN : GATE_NOT_REQUIRED;
	memcpy(pair->fingerprint, digest, sizeof(pair->fingerprint));
	HASH_ADD_KEYPTR(hh, view->index, pair->identity, strlen(identity), pair);
	if (!pair->hh.tbl)
		return NULL;
	pair->record = TAKE(record);
	identity = NULL;
	view->pairs_count++;
	return pair;
}

static int bind_domain(
    struct gate_view *view, const struct domain *domain, uint32_t *next_slot)
{
	view->first_slot[domain->number] = *next_slot;
	for (size_t i = 0; i < domain->dkim_count; i++) {
		const struct dkim_key_config *key = key_at(view, domain, i);
		struct gate_slot *slot = &view->slots[(*next_slot)++];
		slot->pair = GATE_NO_PAIR;
		if (!key->key)
			continue;
		struct gate_pair *pair = add_pair(view, key, domain);
		if (!pair)
			return -ENOMEM;
		pair->users++;
		slot->pair = (uint32_t)(pair - view->pairs);
	}
	return 0;
}

int gate_view_new(struct config *config, struct gate_view **ret)
{
	CLEANUP(gate_view_unrefp) struct gate_view *view = calloc(1, sizeof(*view));
	size_t slots = 0, longest = 0;
	uint32_t next_slot = 0;
	if (!view)
		return -ENOMEM;
	atomic_init(&view->references, 1);
	view->config = config_ref(config);
	const struct domain *domain = NULL;
	while ((domain = config_domain_next(config, domain))) {
		slots += domain->dkim_count;
		if (domain->dkim_count > longest)
			longest = domain->dkim_count;
	}
	view->slots = calloc(slots + 1, sizeof(*view->slots));
	view->pairs = calloc(slots + 1, sizeof(*view->pairs));
	view->first_slot =
	    calloc(config_domain_count(config) + 1, sizeof(*view->first_slot));
	view->scratch = calloc(longest + 1, sizeof(*view->scratch));
	view->scratch_slots = calloc(longest + 1, sizeof(*view->scratch_slots));
	if (!view->slots || !view->pairs || !view->first_slot || !view->scratch ||
	    !view->scratch_slots)
		return -ENOMEM;
	while ((domain = config_domain_next(config, domain))) {
		int r = bind_domain(view, domain, &next_slot);
		if (r < 0)
			return r;
	}
	gate_view_evaluate(view, 0);
	*ret = TAKE(view);
	return 0;
}

struct gate_view *gate_view_ref(struct gate_view *view)
{
	atomic_fetch_add_explicit(&view->references, 1, memory_order_relaxed);
	return view;
}

struct gate_view *gate_view_unref(struct gate_view *view)
{
	if (!view || atomic_fetch_sub(&view->references, 1) > 1)
		return NULL;
	HASH_CLEAR(hh, view->index);
	for (size_t i = 0; i < view->pairs_count; i++) {
		free(view->pairs[i].record);
		free(view->pairs[i].identity);
		free(view->pairs[i].said);
	}
	free(view->pairs);
	free(view->slots);
	free(view->first_slot);
	free(view->scratch);
	free(view->scratch_slots);
	config_unref(view->config);
	free(view);
	return NULL;
}

bool gate_view_signs(
    const struct gate_view *view, const struct domain *domain, size_t place)
{
	const struct gate_slot *slot =
	    &view->slots[view->first_slot[domain->number] + place];
	return atomic_load_explicit(&slot->signs, memory_order_relaxed);
}

struct gate_pair *gate_view_find(
    const struct gate_view *view, const char *record, const char *fingerprint)
{
	CLEANUP(string_freep) char *identity = make_identity(record, fingerprint, true);
	return identity ? find(view, identity) : NULL;
}

void gate_view_inherit(struct gate_view *view, const struct gate_view *old)
{
	for (size_t i = 0; i < view->pairs_count; i++) {
		struct gate_pair *pair = &view->pairs[i];
		const struct gate_pair *before = find(old, pair->identity);
		if (!before)
			continue;
		pair->state = before->state;
		/* Without memory the next answer says it anew. */
		pair->said = before->said ? strdup(before->said) : NULL;
		pair->failing = before->failing;
		pair->tried = before->tried;
		pair->told = before->told;
		pair->told_signs = before->told_signs;
		pair->change = before->change;
	}
}

/* The slots of @domain with keys of @algorithm, into the scratch; returns how many. */
static size_t gather(
    struct gate_view *view, const struct domain *domain, enum dkim_algorithm algorithm)
{
	uint32_t first = view->first_slot[domain->number];
	size_t count = 0;
	for (uint32_t i = first; i < first + domain->dkim_count; i++) {
		if (view->slots[i].pair == GATE_NO_PAIR)
			continue;
		const struct gate_pair *pair = &view->pairs[view->slots[i].pair];
		if (pair->key->key->algorithm != algorithm)
			continue;
		view->scratch[count] = pair->state.seen;
		view->scratch_slots[count++] = i;
	}
	return count;
}

static int64_t evaluate_domain(
    struct gate_view *view, const struct domain *domain, enum dkim_algorithm algorithm,
    int64_t now_s)
{
	uint32_t settle_s = view->config->milter.dkim.settle_s;
	size_t count = gather(view, domain, algorithm);
	size_t chosen = gate_choose(view->scratch, count, now_s, settle_s);
	int64_t next_s = INT64_MAX;
	for (size_t i = 0; i < count; i++) {
		struct gate_slot *slot = &view->slots[view->scratch_slots[i]];
		/* Only what stands before the chosen one can take over by waiting; what
		 * stands behind can once it is settled and the chosen one is not. */
		int64_t at_s = gate_settles_at(&view->scratch[i], now_s, settle_s);
		if (i != chosen && at_s < next_s)
			next_s = at_s;
		atomic_store_explicit(&slot->signs, i == chosen, memory_order_relaxed);
		if (i == chosen)
			view->pairs[slot->pair].signs = true;
	}
	return next_s;
}

int64_t gate_view_evaluate(struct gate_view *view, int64_t now_s)
{
	const struct domain *domain = NULL;
	int64_t next_s = INT64_MAX;
	for (size_t i = 0; i < view->pairs_count; i++)
		view->pairs[i].signs = false;
	while ((domain = config_domain_next(view->config, domain))) {
		for (int i = 0; i < DKIM_ALGORITHMS; i++) {
			int64_t at_s =
			    evaluate_domain(view, domain, (enum dkim_algorithm)i, now_s);
			next_s = at_s < next_s ? at_s : next_s;
		}
	}
	return next_s;
}

const struct gate_pair *gate_view_signer(
    const struct gate_view *view, const struct domain *domain,
    const struct gate_pair *pair)
{
	for (size_t i = 0; i < domain->dkim_count; i++) {
		uint32_t slot = view->first_slot[domain->number] + (uint32_t)i;
		if (view->slots[slot].pair == GATE_NO_PAIR ||
		    !gate_view_signs(view, domain, i))
			continue;
		const struct gate_pair *signer = &view->pairs[view->slots[slot].pair];
		if (signer->key->key->algorithm == pair->key->key->algorithm)
			return signer;
	}
	return NULL;
}
