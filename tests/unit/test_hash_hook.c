/* SPDX-License-Identifier: BSD-2-Clause */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "milter/hash_hook.h"

#include "milter/hook.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void want_digest(SHA256_CTX *state, const char *of)
{
	unsigned char got[SHA256_DIGEST_LENGTH], want[SHA256_DIGEST_LENGTH];
	EVP_Digest(of, strlen(of), want, NULL, EVP_sha256(), NULL);
	SHA256_Final(got, state);
	assert_memory_equal(got, want, sizeof(want));
}

static void test_a_ticket_brings_its_hash(void **state)
{
	(void)state;
	SHA256_CTX ours, theirs, others;
	struct hash_ticket ticket;
	SHA256_Init(&ours);
	SHA256_Update(&ours, "hello\r\n", 7);
	hash_ticket_init(&ticket, &ours);
	/* Canonical as it stands: one line, single blanks. */
	assert_null(strstr(ticket.text, "  "));
	assert_string_equal(strchr(ticket.text, '\r'), "\r\n");

	SHA256_Init(&theirs);
	SHA256_Init(&others);
	assert_int_equal(SHA256_Update(&theirs, ticket.text, strlen(ticket.text)), 1);
	assert_int_equal(SHA256_Update(&others, ticket.text, strlen(ticket.text)), 1);
	assert_int_equal(ticket.taken, 2);
	want_digest(&theirs, "hello\r\n");
	want_digest(&others, "hello\r\n");
	/* Ours is not changed by it. */
	want_digest(&ours, "hello\r\n");
}

static void test_everything_else_is_hashed(void **state)
{
	(void)state;
	SHA256_CTX ours, theirs;
	struct hash_ticket ticket;
	SHA256_Init(&ours);
	hash_ticket_init(&ticket, &ours);
	char texts[5][100] = {"", "-----", "-----POSTERN "};
	/* Of another process, and cut short. */
	strcpy(texts[3], ticket.text);
	texts[3][strlen("-----POSTERN ")] ^= 1;
	memcpy(texts[4], ticket.text, 40);
	for (size_t i = 0; i < 5; i++) {
		SHA256_Init(&theirs);
		assert_int_equal(SHA256_Update(&theirs, texts[i], strlen(texts[i])), 1);
		want_digest(&theirs, texts[i]);
	}
	assert_int_equal(ticket.taken, 0);
}

static void test_tickets_name_objects(void **state)
{
	(void)state;
	char text[100];
	int one = 0, other = 0;
	hook_write_ticket(&one, text, sizeof(text));
	assert_ptr_equal(hook_read_ticket(text, strlen(text)), &one);
	/* What follows does not matter. */
	strcat(text, "7\r\nmore");
	assert_ptr_equal(hook_read_ticket(text, strlen(text)), &one);
	hook_write_ticket(&other, text, sizeof(text));
	assert_ptr_equal(hook_read_ticket(text, strlen(text)), &other);
	for (size_t len = 0; len < strlen(text); len++)
		assert_null(hook_read_ticket(text, len));
	assert_non_null(hook_next("SHA256_Update"));
	assert_null(hook_next("no_such_function_anywhere"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_ticket_brings_its_hash),
	    cmocka_unit_test(test_everything_else_is_hashed),
	    cmocka_unit_test(test_tickets_name_objects),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
