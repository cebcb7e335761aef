/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/token.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/postern-token-XXXXXX";

static const char *write_key(const char *name, const char *text, mode_t mode)
{
	static char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
	return path;
}

static const char key_a[] =
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
static const char key_b[] =
    "A00102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F";

static struct token_keys *keys_of(const char *first, const char *second)
{
	struct token_keys *keys = NULL;
	char why[256];
	assert_int_equal(
	    token_keys_add(
		&keys, write_key("1", first, 0600), geteuid(), why, sizeof(why)),
	    0);
	if (second)
		assert_int_equal(
		    token_keys_add(
			&keys, write_key("2", second, 0600), geteuid(), why, sizeof(why)),
		    0);
	return keys;
}

static struct token_subject subject_of(const char *ip, const char *login)
{
	struct token_subject subject = {.time_s = 1767225600};
	ip_parse(ip, strlen(ip), &subject.client);
	snprintf(subject.login, sizeof(subject.login), "%s", login);
	return subject;
}

static char long_login[TOKEN_LOGIN_MAX + 1];

static void test_round_trip(void **state)
{
	(void)state;
	memset(long_login, 'x', TOKEN_LOGIN_MAX);
	const struct {
		const char *why, *ip, *login;
	} rows[] = {
	    {"IPv4 and a login", "192.0.2.7", "ada@example.org"},
	    {"IPv6", "2001:db8::7", "ada@example.org"},
	    {"no client", "", "ada@example.org"},
	    {"no login", "192.0.2.7", ""},
	    {"the longest login", "2001:db8::7", long_login},
	    {"odd bytes", "192.0.2.7", "a\"\\\t\xC3\xA9 b"},
	};
	struct token_keys *keys = keys_of(key_a, NULL);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct token_subject sent = subject_of(rows[i].ip, rows[i].login), got;
		char text[TOKEN_TEXT_MAX];
		const char *file = NULL;
		assert_int_equal(token_seal(keys, &sent, text), 0);
		if (token_open(keys, text, strlen(text), &got, &file) != TOKEN_OPENED)
			fail_msg("%s: does not open", rows[i].why);
		if (memcmp(&got, &sent, sizeof(got)) != 0)
			fail_msg("%s: something else comes out", rows[i].why);
		assert_string_equal(file + strlen(file) - 2, "/1");
		if (strspn(
			text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			      "0123456789-_") != strlen(text))
			fail_msg("%s: \"%s\" has other characters", rows[i].why, text);
		if (rows[i].login[0] && strstr(text, rows[i].login))
			fail_msg("%s: the login shows", rows[i].why);
	}
	token_keys_free(keys);
}

/* Twice the same is two tokens: nobody sees that one person wrote both. */
static void test_tokens_differ(void **state)
{
	(void)state;
	struct token_keys *keys = keys_of(key_a, NULL);
	struct token_subject subject = subject_of("192.0.2.7", "ada@example.org");
	char one[TOKEN_TEXT_MAX], two[TOKEN_TEXT_MAX];
	assert_int_equal(token_seal(keys, &subject, one), 0);
	assert_int_equal(token_seal(keys, &subject, two), 0);
	assert_string_not_equal(one, two);
	/* Version and key are the same: 5 bytes, 6 characters. Nothing after them is. */
	assert_memory_equal(one, two, 6);
	assert_memory_not_equal(one + 7, two + 7, 16);
	/* Logins up to the same padding have tokens of one length. */
	struct token_subject other = subject_of("2001:db8::1", "a@b.example");
	assert_int_equal(token_seal(keys, &other, two), 0);
	assert_int_equal(strlen(one), strlen(two));
	token_keys_free(keys);
}

static void test_any_change_is_seen(void **state)
{
	(void)state;
	struct token_keys *keys = keys_of(key_a, NULL);
	struct token_subject subject = subject_of("192.0.2.7", "ada@example.org"), got;
	char text[TOKEN_TEXT_MAX];
	const char *file;
	assert_int_equal(token_seal(keys, &subject, text), 0);
	size_t len = strlen(text);
	for (size_t i = 0; i < len; i++) {
		char was = text[i];
		text[i] = was == 'A' ? 'Q' : 'A'; /* differ in the upper bits */
		if (token_open(keys, text, len, &got, &file) == TOKEN_OPENED)
			fail_msg("opens with character %zu changed", i);
		text[i] = was;
	}
	for (size_t cut = 0; cut < len; cut++)
		if (token_open(keys, text, cut, &got, &file) == TOKEN_OPENED)
			fail_msg("opens with %zu of %zu characters", cut, len);
	assert_int_equal(token_open(keys, text, len, &got, &file), TOKEN_OPENED);
	token_keys_free(keys);
}

static void test_rotation(void **state)
{
	(void)state;
	struct token_keys *old = keys_of(key_a, NULL);
	struct token_keys *both = keys_of(key_b, key_a);
	struct token_keys *new = keys_of(key_b, NULL);
	struct token_subject subject = subject_of("192.0.2.7", "ada@example.org"), got;
	char text[TOKEN_TEXT_MAX];
	const char *file;
	assert_int_equal(token_seal(old, &subject, text), 0);
	assert_int_equal(token_open(both, text, strlen(text), &got, &file), TOKEN_OPENED);
	assert_string_equal(file + strlen(file) - 2, "/2");
	assert_int_equal(token_open(new, text, strlen(text), &got, &file), TOKEN_NO_KEY);
	/* The first seals. */
	assert_int_equal(token_seal(both, &subject, text), 0);
	assert_int_equal(token_open(new, text, strlen(text), &got, &file), TOKEN_OPENED);
	assert_int_equal(token_open(old, text, strlen(text), &got, &file), TOKEN_NO_KEY);
	assert_int_equal(token_open(NULL, text, strlen(text), &got, &file), TOKEN_NO_KEY);
	token_keys_free(old);
	token_keys_free(both);
	token_keys_free(new);
}

static void test_bad_files(void **state)
{
	(void)state;
	const struct {
		const char *why, *text;
		mode_t mode;
		const char *want;
	} rows[] = {
	    {"empty", "", 0600, "64 hexadecimal digits"},
	    {"short", "0011", 0600, "64 hexadecimal digits"},
	    {"one digit more",
	     "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f0", 0600,
	     "64 hexadecimal digits"},
	    {"a letter beyond f",
	     "g00102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", 0600,
	     "64 hexadecimal digits"},
	    {"open to everybody", key_a, 0644, "chmod o="},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct token_keys *keys = NULL;
		char why[512] = "";
		int r = token_keys_add(
		    &keys, write_key("bad", rows[i].text, rows[i].mode), geteuid(), why,
		    sizeof(why));
		if (r != -EINVAL || !strstr(why, rows[i].want))
			fail_msg("%s: %d \"%s\"", rows[i].why, r, why);
		token_keys_free(keys);
	}
	struct token_keys *keys = keys_of(key_a, NULL);
	char why[512] = "";
	assert_int_equal(
	    token_keys_add(
		&keys, write_key("again", key_a, 0600), geteuid(), why, sizeof(why)),
	    -EINVAL);
	assert_non_null(strstr(why, "is the same as"));
	token_keys_free(keys);
}

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	static const char *const names[] = {"1", "2", "bad", "again"};
	char path[PATH_MAX];
	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_round_trip),
	    cmocka_unit_test(test_tokens_differ),
	    cmocka_unit_test(test_any_change_is_seen),
	    cmocka_unit_test(test_rotation),
	    cmocka_unit_test(test_bad_files),
	};
	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
