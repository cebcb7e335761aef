/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/dkim_key.h"
#include "milter/sign.h"

#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Whether signatures verify is asked of dkimpy and opendkim in the end-to-end tests.
 * Here: the body hash against a slow canonicaliser of our own, h=, and what is refused.
 */

static char from[] = "from", subject[] = "subject", x_tenant[] = "x-tenant",
	    user_agent[] = "User-Agent";
static char *oversigned[] = {from, subject, x_tenant};
static char *removed[] = {user_agent, subject};

static struct config config = {
    .milter.dkim = {.oversign = {3, oversigned}},
    .milter.mask.remove = {2, removed},
};
static struct dkim_key rsa = {.algorithm = DKIM_RSA_SHA256};
static struct dkim_key ed25519 = {.algorithm = DKIM_ED25519_SHA256};
/* What dkim_key_load() never lets through: the library fails with it at the end. */
static struct dkim_key swapped = {.algorithm = DKIM_RSA_SHA256};
static char selector[] = "s1", second[] = "s2";
static const struct dkim_key_config
    rsa_config = {.selector = selector, .key = &rsa},
    ed25519_config = {.selector = second, .key = &ed25519},
    swapped_config = {.selector = second, .key = &swapped};
/* What sign_message() signs with. */
static struct chosen_key keys[2] = {
    {&rsa_config, "example.org"}, {&ed25519_config, "example.com"}};
static size_t keys_count = 1;
static struct signer *signer;

#ifdef HOOK_HIDDEN
/* libopendkim forgets every Ed25519 key that it parsed itself. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libcrypto\n";
}
#endif

static int set_up(void **state)
{
	(void)state;
	rsa.pkey = EVP_RSA_gen(1024);
	ed25519.pkey = swapped.pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	return rsa.pkey && ed25519.pkey ? signer_new(&config, &signer) : -1;
}

static int tear_down(void **state)
{
	(void)state;
	signer_free(signer);
	EVP_PKEY_free(rsa.pkey);
	EVP_PKEY_free(ed25519.pkey);
	return 0;
}

struct buffer {
	unsigned char *bytes;
	size_t len;
};

static void put(struct buffer *to, const void *bytes, size_t len)
{
	to->bytes = realloc(to->bytes, to->len + len + 1);
	memcpy(to->bytes + to->len, bytes, len);
	to->len += len;
}

/* RFC 6376, 3.4.3 and 3.4.4, line by line, after bare LF became CRLF. */
static void canonical_body(
    const unsigned char *body, size_t len, enum canonicalization canon,
    struct buffer *ret)
{
	size_t blank_lines = 0;
	const unsigned char *end = body + len;
	while (body < end) {
		const unsigned char *lf = memchr(body, '\n', (size_t)(end - body));
		const unsigned char *stop = lf ? lf : end;
		if (lf && stop > body && stop[-1] == '\r')
			stop--;
		struct buffer line = {0};
		put(&line, "", 0);
		for (const unsigned char *at = body; at < stop; at++) {
			bool space = *at == ' ' || *at == '\t';
			if (canon == CANON_SIMPLE || !space)
				put(&line, at, 1);
			else if (at + 1 < stop && at[1] != ' ' && at[1] != '\t')
				put(&line, " ", 1);
		}
		if (line.len == 0) {
			blank_lines++;
		} else {
			for (; blank_lines > 0; blank_lines--)
				put(ret, "\r\n", 2);
			put(ret, line.bytes, line.len);
			put(ret, "\r\n", 2);
		}
		free(line.bytes);
		body = lf ? lf + 1 : end;
	}
	if (ret->len == 0 && canon == CANON_SIMPLE)
		put(ret, "\r\n", 2);
	put(ret, "", 0);
}

static void base64_hash(const struct buffer *buffer, char ret[64])
{
	unsigned char digest[32];
	EVP_Digest(buffer->bytes, buffer->len, digest, NULL, EVP_sha256(), NULL);
	EVP_EncodeBlock((unsigned char *)ret, digest, 32);
}

/* A tag's value without folding; the caller frees it. */
static char *tag(const char *value, const char *name)
{
	char *flat = strdup(value), *to = flat;
	for (const char *at = value; *at; at++) {
		if (!strchr(" \t\r\n", *at))
			*to++ = *at;
	}
	*to = '\0';
	char *found = NULL;
	for (char *ctx, *part = strtok_r(flat, ";", &ctx); part;
	     part = strtok_r(NULL, ";", &ctx)) {
		if (strncmp(part, name, strlen(name)) == 0 && part[strlen(name)] == '=')
			found = strdup(part + strlen(name) + 1);
	}
	free(flat);
	return found;
}

static struct headers plain_headers(void)
{
	struct headers headers = {0};
	headers_add(&headers, "Received", " from a by b; c");
	headers_add(&headers, "From", " Ada <ada@example.org>");
	headers_add(&headers, "Subject", " hello");
	headers_add(&headers, "User-Agent", " x");
	return headers;
}

/* @chunk 0: in one piece. Returns what sign.h returned last. */
static int sign_all(
    const struct headers *headers, const unsigned char *body, size_t len, size_t chunk,
    bool masked, struct signed_values *ret, char errbuf[static SIGN_ERROR_TEXT_MAX])
{
	struct signature_params params = {
	    .signer = signer,
	    .keys = keys,
	    .keys_count = keys_count,
	    .id = "4XyZ",
	    .masked = masked,
	};
	struct signature *signature = NULL;
	int r = signature_new(&params, headers, &signature, errbuf);
	for (size_t at = 0; r == 0 && at < len; at += chunk ? chunk : len) {
		size_t n = chunk && chunk < len - at ? chunk : len - at;
		/* Exactly this piece, so that ASan sees a byte too far. */
		unsigned char *piece = malloc(n);
		memcpy(piece, body + at, n);
		r = signature_body(signature, piece, n, errbuf);
		free(piece);
	}
	if (r == 0)
		r = signature_finish(signature, ret, errbuf);
	signature_free(signature);
	return r;
}

/* The first of them. */
static int sign_message(
    const struct headers *headers, const unsigned char *body, size_t len, size_t chunk,
    bool masked, char **ret, char errbuf[static SIGN_ERROR_TEXT_MAX])
{
	struct signed_values values = {0};
	int r = sign_all(headers, body, len, chunk, masked, &values, errbuf);
	if (r == 0) {
		assert_int_equal(values.count, keys_count);
		*ret = values.items[0];
		values.items[0] = NULL;
	}
	signed_values_done(&values);
	return r;
}

#define BODY(text) (const unsigned char *)(text), sizeof(text) - 1

static const struct {
	const char *why;
	const unsigned char *body;
	size_t len;
} bodies[] = {
    {"empty", BODY("")},
    {"one line", BODY("hello\r\n")},
    {"no final CRLF", BODY("hello\r\nworld")},
    {"no line end at all", BODY("hello")},
    {"an empty line alone", BODY("\r\n")},
    {"empty lines alone", BODY("\r\n\r\n\r\n")},
    {"trailing empty lines", BODY("hello\r\n\r\n\r\n")},
    {"leading empty lines", BODY("\r\n\r\nhello\r\n")},
    {"blanks and tabs", BODY("  a \t b\t\r\n \t\r\n\tc  \r\n")},
    {"blank lines at the end", BODY("a\r\n \r\n\t\r\n \r\n")},
    {"blanks without a line end", BODY("a\r\n  ")},
    {"NULs", BODY("a\0b\0\r\n\0\r\n")},
    {"8-bit", BODY("\xff\xfe\x80 \xe4\r\n")},
    {"dots", BODY(".\r\n..\r\n.a\r\n")},
    {"bare LF", BODY("a\nb\r\n\nc\n")},
    {"bare LF alone", BODY("\n")},
    {"a LF after a blank", BODY("a \n\t\nb")},
};

static void check_body(const char *why, const unsigned char *body, size_t len)
{
	static const size_t chunks[] = {0, 1, 2, 3, 7};
	for (int canon = 0; canon < 2; canon++) {
		config.milter.dkim.header_canon = config.milter.dkim.body_canon =
		    canon ? CANON_RELAXED : CANON_SIMPLE;
		char want[64];
		struct buffer buffer = {0};
		canonical_body(body, len, config.milter.dkim.body_canon, &buffer);
		base64_hash(&buffer, want);
		free(buffer.bytes);
		for (size_t i = 0; i < sizeof(chunks) / sizeof(chunks[0]); i++) {
			struct headers headers = plain_headers();
			char err[SIGN_ERROR_TEXT_MAX] = "";
			char *value = NULL;
			if (sign_message(
				&headers, body, len, chunks[i], false, &value, err) != 0)
				fail_msg("%s: %s", why, err);
			char *got = tag(value, "bh");
			if (!got || strcmp(got, want) != 0)
				fail_msg(
				    "%s: bh=%s, wanted %s (canon %d, pieces of %zu)", why,
				    got, want, canon, chunks[i]);
			assert_null(tag(value, "l"));
			free(got);
			free(value);
			headers_done(&headers);
		}
	}
}

static void test_bodies(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
		check_body(bodies[i].why, bodies[i].body, bodies[i].len);
}

static void test_random_bodies(void **state)
{
	(void)state;
	static const char *const pieces[] = {"\r\n", "\n", " ", "\t",   "a",       "bc",
					     "\v",   "\f", ".", "\xff", "\r\n\r\n"};
	srandom(20260101);
	for (int round = 0; round < 60; round++) {
		char body[128] = "";
		for (int i = 0; i < 24; i++)
			strcat(
			    body, pieces
				      [(size_t)random() %
				       (sizeof(pieces) / sizeof(pieces[0]))]);
		check_body("random", (unsigned char *)body, strlen(body));
	}
}

static void test_refused_bodies(void **state)
{
	(void)state;
	static const struct {
		const char *why, *body;
	} bad[] = {
	    {"a bare CR", "a\rb\r\n"},
	    {"a bare CR at the end", "a\r"},
	    {"two CRs", "a\r\r\n"},
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		for (size_t chunk = 0; chunk < 4; chunk++) {
			struct headers headers = plain_headers();
			char err[SIGN_ERROR_TEXT_MAX] = "";
			char *value = NULL;
			int r = sign_message(
			    &headers, (const unsigned char *)bad[i].body,
			    strlen(bad[i].body), chunk, false, &value, err);
			if (r != SIGN_UNSIGNABLE || value || !strstr(err, "bare CR"))
				fail_msg("%s: %d %s", bad[i].why, r, err);
			headers_done(&headers);
		}
	}
}

static void test_long_lines(void **state)
{
	(void)state;
	size_t len = BODY_LINE_MAX + 1;
	unsigned char *body = malloc(len);
	memset(body, 'a', len);
	struct headers headers = plain_headers();
	char err[SIGN_ERROR_TEXT_MAX] = "";
	char *value = NULL;
	assert_int_equal(
	    sign_message(&headers, body, len, 65535, false, &value, err),
	    SIGN_UNSIGNABLE);
	assert_non_null(strstr(err, "1 MiB"));
	body[500000] = '\n';
	assert_int_equal(sign_message(&headers, body, len, 65535, false, &value, err), 0);
	free(value);

	struct signature_params params = {
	    .signer = signer, .keys = keys, .keys_count = 1, .id = "1"};
	struct signature *signature;
	assert_int_equal(signature_new(&params, &headers, &signature, err), 0);
	body[998] = '\n';
	body[1998] = '\n';
	assert_int_equal(signature_body(signature, body, 3000, err), 0);
	/* 998 is allowed, 999 is not, the third has not ended. */
	assert_int_equal(signature_long_lines(signature), 1);
	signature_free(signature);
	headers_done(&headers);
	free(body);
}

static void want_h(const struct headers *headers, bool masked, const char *want)
{
	char err[SIGN_ERROR_TEXT_MAX] = "";
	char *value = NULL;
	if (sign_message(headers, BODY("x\r\n"), 0, masked, &value, err) != 0)
		fail_msg("%s", err);
	char *h = tag(value, "h");
	assert_string_equal(h, want);
	/* With its leading space; folds are LF. */
	assert_int_equal(value[0], ' ');
	assert_null(strchr(value, '\r'));
	free(h);
	free(value);
}

static void test_signed_headers(void **state)
{
	(void)state;
	struct headers headers = plain_headers();
	want_h(&headers, false, "From:Subject:from:subject:x-tenant");
	want_h(&headers, true, "From:from:subject:x-tenant");
	headers_add(&headers, "List-Unsubscribe-Post", " List-Unsubscribe=One-Click");
	headers_add(&headers, "DKIM-Signature", " broken");
	headers_add(&headers, "X-Tenant", " a");
	headers_add(&headers, "MIME-Version", " 1.0");
	want_h(
	    &headers, false,
	    "From:Subject:List-Unsubscribe-Post:X-Tenant:MIME-Version:from:subject:"
	    "x-tenant");
	headers_done(&headers);
}

static void test_refused_headers(void **state)
{
	(void)state;
	static const struct {
		const char *why, *value;
		bool good;
	} values[] = {
	    {"plain", " x", true},
	    {"folded right after the colon", "\n x", true},
	    {"tabs and CRLF folds", "\tx\r\n\ty", true},
	    {"8-bit", " \xff\xe4", true},
	    {"empty", "", true},
	    {"a form feed, a blank to the library alone", " a\fb", false},
	    {"a vertical tab", " a\vb", false},
	    {"a bare CR", " a\rb", false},
	    {"DEL", " a\x7f", false},
	    {"a newline that is no fold", " a\nX: y", false},
	    {"a newline at the end", " a\n", false},
	};
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		struct headers headers = plain_headers();
		char err[SIGN_ERROR_TEXT_MAX] = "";
		char *value = NULL;
		headers_add(&headers, "To", values[i].value);
		int r = sign_message(&headers, BODY("x\r\n"), 0, false, &value, err);
		if (r != (values[i].good ? 0 : SIGN_UNSIGNABLE))
			fail_msg("%s: %d %s", values[i].why, r, err);
		if (!values[i].good && !strstr(err, "control character in header To"))
			fail_msg("%s: says %s", values[i].why, err);
		free(value);
		headers_done(&headers);
	}
}

static void test_many_headers(void **state)
{
	(void)state;
	char err[SIGN_ERROR_TEXT_MAX] = "";
	char *value = NULL;
	struct headers headers = plain_headers();
	for (int i = 0; i < SIGN_HEADERS_MAX; i++)
		headers_add(&headers, "To", " x");
	assert_int_equal(
	    sign_message(&headers, BODY("x\r\n"), 0, false, &value, err),
	    SIGN_UNSIGNABLE);
	headers_done(&headers);

	headers = plain_headers();
	char name[1000];
	memset(name, 'a', sizeof(name));
	memcpy(name, "List-", 5);
	name[999] = '\0';
	for (int i = 0; i < 4; i++)
		headers_add(&headers, name, " x");
	assert_int_equal(
	    sign_message(&headers, BODY("x\r\n"), 0, false, &value, err),
	    SIGN_UNSIGNABLE);
	headers_done(&headers);

	/* As large as Postfix lets one be, all folds. */
	headers = plain_headers();
	char *large = malloc(60001);
	for (int i = 0; i < 60000; i += 2)
		memcpy(large + i, "\n ", 2);
	large[60000] = '\0';
	headers_add(&headers, "To", large);
	if (sign_message(&headers, BODY("x\r\n"), 0, false, &value, err) != 0)
		fail_msg("60,000 bytes: %s", err);
	free(value);
	free(large);
	headers_done(&headers);
}

/* What the library refuses is our fault, told as such. */
static void test_library_fault(void **state)
{
	(void)state;
	char err[SIGN_ERROR_TEXT_MAX] = "";
	char *value = NULL;
	struct headers headers = {0};
	headers_add(&headers, "To", " x");
	assert_true(sign_message(&headers, BODY("x\r\n"), 0, false, &value, err) < 0);
	assert_non_null(strstr(err, "from"));
	headers_done(&headers);

	keys[0].key = &swapped_config;
	headers = plain_headers();
	assert_true(sign_message(&headers, BODY("x\r\n"), 0, false, &value, err) < 0);
	assert_null(value);
	assert_non_null(strstr(err, "libopendkim failed in dkim_eom"));
	keys[0].key = &rsa_config;
	headers_done(&headers);
}

/* The library hashes what @value's h= names, in its order, and the signature itself;
 * whether that is right is asked of verifiers elsewhere. Here: who made it. */
static void want_signature(
    const char *value, const char *algorithm, const char *domain, const char *s,
    size_t bytes)
{
	static const char *const names[] = {"a", "d", "s"};
	const char *wants[] = {algorithm, domain, s};
	for (size_t i = 0; i < 3; i++) {
		char *got = tag(value, names[i]);
		assert_non_null(got);
		assert_string_equal(got, wants[i]);
		free(got);
	}
	char *b = tag(value, "b");
	assert_non_null(b);
	assert_int_equal(strlen(b), (bytes + 2) / 3 * 4);
	free(b);
}

static void test_two_algorithms(void **state)
{
	(void)state;
	struct headers headers = plain_headers();
	struct signed_values values = {0};
	char err[SIGN_ERROR_TEXT_MAX] = "";
	keys_count = 2;
	for (size_t chunk = 0; chunk < 4; chunk++) {
		assert_int_equal(
		    sign_all(&headers, BODY("a \nb\r\n\r\n"), chunk, false, &values, err),
		    0);
		assert_int_equal(values.count, 2);
		want_signature(values.items[0], "rsa-sha256", "example.org", "s1", 128);
		want_signature(
		    values.items[1], "ed25519-sha256", "example.com", "s2", 64);
		char *one = tag(values.items[0], "bh"),
		     *other = tag(values.items[1], "bh");
		assert_string_equal(one, other);
		free(one);
		free(other);
		signed_values_done(&values);
	}
	/* All or none. */
	keys[0].key = &swapped_config;
	assert_true(sign_all(&headers, BODY("x\r\n"), 0, false, &values, err) < 0);
	assert_int_equal(values.count, 0);
	assert_null(values.items[0]);
	keys[0].key = &rsa_config;
	keys_count = 1;
	headers_done(&headers);
}

static long resident_kib(void)
{
	long pages = 0;
	FILE *file = fopen("/proc/self/statm", "r");
	assert_non_null(file);
	assert_int_equal(fscanf(file, "%*d %ld", &pages), 1);
	fclose(file);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* Of an Ed25519 signature libopendkim forgets 540 bytes, and 66 with a key that is
 * shared: a million of them in one process may cost 10 MB. POSTERN_SIGN_ROUNDS: so many.
 */
static void test_memory_stays(void **state)
{
	(void)state;
#if defined(HOOK_HIDDEN) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	skip();
#endif
	const char *more = getenv("POSTERN_SIGN_ROUNDS");
	long rounds = more ? atol(more) : 20000, before = 0;
	struct headers headers = plain_headers();
	char err[SIGN_ERROR_TEXT_MAX] = "";
	keys[0].key = &ed25519_config;
	for (long i = 0; i < rounds + 1000; i++) {
		char *value = NULL;
		if (i == 1000)
			before = resident_kib();
		assert_int_equal(
		    sign_message(&headers, BODY("hello\r\n"), 0, false, &value, err), 0);
		free(value);
	}
	long grown = resident_kib() - before;
	print_message("%ld signatures: grown by %ld KiB\n", rounds, grown);
	keys[0].key = &rsa_config;
	headers_done(&headers);
	/* 10 bytes each, and some pages that anything may take. */
	assert_true(grown < rounds / 100 + 256);
}

/* Parsed keys and one body hash: fails when the library does not call the hooks. */
static void test_hooks_are_reached(void **state)
{
	(void)state;
#ifdef HOOK_HIDDEN
	assert_false(sign_is_fast());
#else
	assert_true(sign_is_fast());
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_bodies),
	    cmocka_unit_test(test_random_bodies),
	    cmocka_unit_test(test_refused_bodies),
	    cmocka_unit_test(test_long_lines),
	    cmocka_unit_test(test_signed_headers),
	    cmocka_unit_test(test_refused_headers),
	    cmocka_unit_test(test_many_headers),
	    cmocka_unit_test(test_library_fault),
	    cmocka_unit_test(test_two_algorithms),
	    cmocka_unit_test(test_hooks_are_reached),
	    cmocka_unit_test(test_memory_stays),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
