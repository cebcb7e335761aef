/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * A TXT record, whatever DNS may have there, against a key of each kind. What is said of
 * it is printable, and nothing matches that does not hold the key's p=, all its letters
 * in their order.
 *
 * At its end it says how often it got where, and fails when it never got somewhere.
 */

#include "common/dkim_record.h"
#include "tests/fuzz/fuzz.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t reached[DKIM_RECORD_NONE + 1];

static char ed_p[] = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
static char rsa_p[] =
    "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDDV0WFrIRFsGUcKkiAqgYpJ3ISZ7cLq6gq2kfMrCGcCYjA"
    "QAB";

static void report(void)
{
	static const char *const names[] = {
	    "matches", "other key", "revoked", "unusable", "no key"};
	bool all = true;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		fprintf(stderr, "%s %zu  ", names[i], reached[i]);
		all = all && reached[i] > 0;
	}
	fputc('\n', stderr);
	if (!all)
		_Exit(1);
}

/* True when the letters of @wanted stand in @data in their order. */
static bool holds(const uint8_t *data, size_t len, const char *wanted)
{
	for (size_t i = 0; i < len && *wanted; i++)
		if (data[i] == (uint8_t)*wanted)
			wanted++;
	return *wanted == '\0';
}

static void compare(const struct dkim_key *key, const uint8_t *data, size_t len)
{
	char said[DKIM_RECORD_TEXT_MAX];

	memset(said, 1, sizeof(said));
	enum dkim_record_match match =
	    dkim_record_compare(key, (const char *)data, len, said);
	const char *end = memchr(said, '\0', sizeof(said));
	assert(end);
	for (const char *at = said; at < end; at++)
		assert(*at >= ' ' && *at <= '~');
	assert(match != DKIM_RECORD_MATCHES || holds(data, len, key->public_base64));
	assert(match == DKIM_RECORD_MATCHES || said[0]);
	reached[match]++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const struct dkim_key keys[] = {
	    {.algorithm = DKIM_RSA_SHA256, .public_base64 = rsa_p},
	    {.algorithm = DKIM_ED25519_SHA256, .public_base64 = ed_p}};
	static bool begun;

	if (!begun)
		atexit(report);
	begun = true;
	/* Exactly as long as it is: reading on is then seen. */
	uint8_t *copy = malloc(len ? len : 1);
	assert(copy);
	if (len)
		memcpy(copy, data, len);
	for (size_t i = 0; i < 2; i++)
		compare(&keys[i], copy, len);
	free(copy);
	return 0;
}
