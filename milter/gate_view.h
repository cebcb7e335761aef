/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"
#include "milter/gate_state.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/*
 * The DNS records of one configuration's keys, and which keys sign by them. A record is
 * one (selector, signing domain, key): the same key under two domains has two, a key file
 * that was replaced another one.
 *
 * Belongs to a generation of the configuration. The gate's thread keeps the newest one up
 * to date; callbacks read of any of them, without a lock, which keys sign. One that has
 * been replaced stays as it last was, for the messages still under way.
 */

#define GATE_FINGERPRINT_LEN 32

struct gate_view;

struct gate_pair {
	const struct dkim_key_config *key;          /* the first of those alike; loaded */
	const char *domain;                         /* d= */
	const struct domain *served;                /* the first that uses it */
	size_t users;                               /* entries of domains that do */
	char *record;                               /* SELECTOR._domainkey.DOMAIN */
	char fingerprint[GATE_FINGERPRINT_LEN + 1]; /* of the public key */

	/* The thread's, and read by others under its lock. */
	struct gate_record state;
	char *said;      /* what DNS had last, or why it had no answer; NULL: nothing */
	bool failing;    /* the last answer was none */
	bool tried;      /* asked at least once in the life of the process */
	bool told;       /* the log has its present state */
	bool signs;      /* for at least one domain */
	bool told_signs; /* as the log has it */
	enum gate_change change; /* not logged yet */
	uint32_t series;         /* of the metric */
	void *asker;

	char *identity;
	UT_hash_handle hh;
};

struct gate_slot {
	uint32_t pair; /* GATE_NO_PAIR: the key is not loaded */
	atomic_bool signs;
};

#define GATE_NO_PAIR UINT32_MAX

struct gate_view {
	struct config *config;
	struct gate_pair *pairs;
	size_t pairs_count;

	/* private */
	atomic_ulong references;
	struct gate_slot *slots; /* of each domain: as many as it has keys */
	uint32_t *first_slot;    /* by the domain's number */
	struct gate_seen *scratch;
	uint32_t *scratch_slots;
	struct gate_pair *index; /* uthash */
};

/*
 * Takes a reference to @config, loaded with its keys. Nothing is known of any record yet,
 * so that the first keys sign. 0 or -ENOMEM.
 */
int gate_view_new(struct config *config, struct gate_view **ret);
struct gate_view *gate_view_ref(struct gate_view *view);
struct gate_view *gate_view_unref(struct gate_view *view); /* returns NULL */

/* Whether the key in @place of @domain's list signs for it. Any thread. */
bool gate_view_signs(
    const struct gate_view *view, const struct domain *domain, size_t place);

/* ---- for the gate's thread ---- */

/* The pair with this record and key that needs DNS; NULL: there is none. */
struct gate_pair *gate_view_find(
    const struct gate_view *view, const char *record, const char *fingerprint);

/* Takes over from @old what is known of records that both have. */
void gate_view_inherit(struct gate_view *view, const struct gate_view *old);

/* Works out who signs. Returns when it changes without an answer; INT64_MAX: never. */
int64_t gate_view_evaluate(struct gate_view *view, int64_t now_s);

/* The key that signs for @domain with the algorithm of @pair; NULL: none. */
const struct gate_pair *gate_view_signer(
    const struct gate_view *view, const struct domain *domain,
    const struct gate_pair *pair);
