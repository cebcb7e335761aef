/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/dkim_key.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/postern-dkim-key-XXXXXX";

static char *in_dir(const char *name)
{
	static char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void write_file(const char *name, const char *text, size_t len, mode_t mode)
{
	char *path = in_dir(name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), (ssize_t)len);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

enum form {
	EC_PARAMETERS,
	PRIVATE,
	ENCRYPTED,
	DER,
	PUBLIC,
	TRUNCATED,
	PREAMBLE,
	TRADITIONAL
};

static void write_pkey(const char *name, EVP_PKEY *pkey, enum form form)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char pass[] = "x";
	assert_non_null(pkey);
	switch (form) {
	case PREAMBLE:
	case EC_PARAMETERS:
		BIO_puts(
		    bio, form == PREAMBLE ? "the key of 2026\n"
					  : "-----BEGIN EC PARAMETERS-----\n"
					    "BggqhkjOPQMBBw==\n"
					    "-----END EC PARAMETERS-----\n");
		/* fall through */
	case PRIVATE:
	case TRUNCATED:
		PEM_write_bio_PKCS8PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL);
		break;
	case ENCRYPTED:
		PEM_write_bio_PKCS8PrivateKey(
		    bio, pkey, EVP_aes_128_cbc(), pass, 1, NULL, NULL);
		break;
	case TRADITIONAL:
		PEM_write_bio_PrivateKey_traditional(
		    bio, pkey, NULL, NULL, 0, NULL, NULL);
		break;
	case DER:
		i2d_PrivateKey_bio(bio, pkey);
		break;
	case PUBLIC:
		PEM_write_bio_PUBKEY(bio, pkey);
		break;
	}
	char *bytes;
	long len = BIO_get_mem_data(bio, &bytes);
	assert_true(len > 0);
	write_file(name, bytes, (size_t)(form == TRUNCATED ? len / 2 : len), 0600);
	BIO_free(bio);
	EVP_PKEY_free(pkey);
}

static EVP_PKEY *rsa(unsigned bits)
{
	return EVP_RSA_gen(bits);
}

/* Damaged so that it parses, and signs what no public key verifies. */
static void write_mismatched(const char *name)
{
	EVP_PKEY *one = rsa(1024);
	BIO *bio = BIO_new(BIO_s_mem());
	PEM_write_bio_PrivateKey_traditional(bio, one, NULL, NULL, 0, NULL, NULL);
	char *bytes;
	long len = BIO_get_mem_data(bio, &bytes);
	char *pem = strndup(bytes, (size_t)len);
	/* A base64 digit within the modulus. */
	char *digit = strchr(pem, '\n') + 70;
	*digit = *digit == 'A' ? 'B' : 'A';
	write_file(name, pem, strlen(pem), 0600);
	free(pem);
	BIO_free(bio);
	EVP_PKEY_free(one);
}

static int make_files(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(dir));
	write_pkey("good", rsa(1024), PRIVATE);
	write_pkey("traditional", rsa(1024), TRADITIONAL);
	write_pkey("preamble", rsa(1024), PREAMBLE);
	write_pkey("ed25519", EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), PRIVATE);
	write_pkey("rsa-512", rsa(512), PRIVATE);
	write_pkey("rsa-1016", rsa(1016), PRIVATE);
	write_pkey("ec", EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256"), PRIVATE);
	write_pkey(
	    "ecparam", EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256"), EC_PARAMETERS);
	write_pkey("encrypted", rsa(1024), ENCRYPTED);
	write_pkey("der", rsa(1024), DER);
	write_pkey("public", rsa(1024), PUBLIC);
	write_pkey("truncated", rsa(1024), TRUNCATED);
	write_pkey("world", rsa(1024), PRIVATE);
	write_pkey("group-writable", rsa(1024), PRIVATE);
	write_pkey("group-readable", rsa(1024), PRIVATE);
	write_pkey("foreign", rsa(1024), PRIVATE);
	write_mismatched("mismatched");
	write_file("empty", "", 0, 0600);
	write_file("text", "s2026._domainkey\n", 17, 0600);
	char *large = calloc(1, 65537);
	write_file("large", large, 65537, 0600);
	free(large);
	chmod(in_dir("world"), 0644);
	chmod(in_dir("group-writable"), 0660);
	chmod(in_dir("group-readable"), 0640);
	mkfifo(in_dir("fifo"), 0600);
	assert_int_equal(symlink("good", in_dir("link")), 0);
	assert_int_equal(symlink("nowhere", in_dir("dangling")), 0);

	mkdir(in_dir("open"), 0700);
	write_pkey("open/key", rsa(1024), PRIVATE);
	chmod(in_dir("open"), 0770);
	mkdir(in_dir("sticky"), 0700);
	write_pkey("sticky/key", rsa(1024), PRIVATE);
	chmod(in_dir("sticky"), 01777);
	assert_int_equal(symlink("open/key", in_dir("to-open")), 0);
	mkdir(in_dir("everybody"), 0700);
	assert_int_equal(symlink("../good", in_dir("everybody/link")), 0);
	chmod(in_dir("everybody"), 0777);
	return 0;
}

static int remove_files(void **state)
{
	(void)state;
	char command[PATH_MAX];
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command) == 0 ? 0 : -1;
}

static const struct {
	const char *why;
	const char *file;
	const char *want; /* a part of the sentence; NULL: loads */
	enum dkim_algorithm algorithm;
	unsigned bits;
} rows[] = {
    {"a plain RSA key", "good", NULL, DKIM_RSA_SHA256, 1024},
    {"PKCS#1 as openssl rsa -traditional writes", "traditional", NULL, DKIM_RSA_SHA256,
     1024},
    {"text before the key", "preamble", NULL, DKIM_RSA_SHA256, 1024},
    {"Ed25519 is recognised", "ed25519", NULL, DKIM_ED25519_SHA256, 256},
    {"a group may read", "group-readable", NULL, DKIM_RSA_SHA256, 1024},
    {"a link to a good key", "link", NULL, DKIM_RSA_SHA256, 1024},
    {"a sticky folder is safe", "sticky/key", NULL, DKIM_RSA_SHA256, 1024},
    {"RSA-512", "rsa-512", "has 512 bits", 0, 0},
    {"under 1024", "rsa-1016", "has 1016 bits", 0, 0},
    {"elliptic curves are no DKIM", "ec", "is of type EC", 0, 0},
    {"as openssl ecparam -genkey writes it", "ecparam", "is of type EC", 0, 0},
    {"encrypted: never a prompt", "encrypted", "is encrypted", 0, 0},
    {"DER", "der", "is in DER form", 0, 0},
    {"the public half", "public", "holds a public key", 0, 0},
    {"half a file", "truncated", "damaged or cut short", 0, 0},
    {"halves that do not belong together", "mismatched", "damaged", 0, 0},
    {"empty", "empty", "is empty", 0, 0},
    {"no PEM at all", "text", "holds no PEM private key", 0, 0},
    {"too large", "large", "is too large", 0, 0},
    {"readable by everybody", "world", "open to everybody (mode 0644)", 0, 0},
    {"writable by the group", "group-writable", "writable by its group", 0, 0},
    {"a FIFO does not block", "fifo", "no regular file", 0, 0},
    {"a folder", "sticky", "no regular file", 0, 0},
    {"missing", "missing", "No such file", 0, 0},
    {"a link to nothing", "dangling", "No such file", 0, 0},
    {"group-writable folder", "open/key", "is writable by its group (mode 0770)", 0, 0},
    {"a link into a group-writable folder", "to-open", "can be replaced by others", 0, 0},
    {"a link that everybody can change", "everybody/link", "is writable by everybody", 0,
     0},
    {"somebody else's", "foreign", "neither root nor the service user", 0, 0},
};

static void test_load(void **state)
{
	(void)state;
	bool is_root = geteuid() == 0;
	if (is_root)
		assert_int_equal(chown(in_dir("foreign"), 65533, 65533), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char err[1024] = "";
		struct dkim_key *key = NULL;
		uid_t uid = geteuid();
		if (!strcmp(rows[i].file, "foreign") && !is_root)
			uid++;
		int r = dkim_key_load(in_dir(rows[i].file), uid, &key, err, sizeof(err));
		if (!rows[i].want) {
			if (r != 0)
				fail_msg("%s: refused: %s", rows[i].why, err);
			if (key->algorithm != rows[i].algorithm ||
			    key->bits != rows[i].bits)
				fail_msg("%s: algorithm or bits differ", rows[i].why);
			char *pem = NULL;
			assert_int_equal(dkim_key_pem(key, &pem), 0);
			if (strncmp(pem, "-----BEGIN PRIVATE KEY-----\n", 28) != 0)
				fail_msg("%s: not what libopendkim takes", rows[i].why);
			dkim_key_pem_free(pem);
		} else {
			if (r != -EINVAL || key)
				fail_msg("%s: loaded", rows[i].why);
			if (!strstr(err, rows[i].want) || !strstr(err, rows[i].file))
				fail_msg("%s: says: %s", rows[i].why, err);
			if (strchr(err, '\n'))
				fail_msg("%s: more than one line: %s", rows[i].why, err);
		}
		dkim_key_free(key);
	}
}

/* The record must match what a verifier derives from the private key. */
static void test_public_half(void **state)
{
	(void)state;
	static const char *const files[] = {"good", "ed25519"};
	for (size_t i = 0; i < 2; i++) {
		char err[1024];
		struct dkim_key *key = NULL;
		assert_int_equal(
		    dkim_key_load(in_dir(files[i]), geteuid(), &key, err, sizeof(err)),
		    0);
		unsigned char raw[1024];
		int len = EVP_DecodeBlock(
		    raw, (const unsigned char *)key->public_base64,
		    (int)strlen(key->public_base64));
		assert_true(len > 0);
		char *pem = NULL;
		assert_int_equal(dkim_key_pem(key, &pem), 0);
		BIO *bio = BIO_new_mem_buf(pem, -1);
		EVP_PKEY *private = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
		const unsigned char *at = raw;
		EVP_PKEY *public =
		    key->algorithm == DKIM_RSA_SHA256
			? d2i_PUBKEY(NULL, &at, len)
			: EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, raw, 32);
		assert_non_null(public);
		assert_int_equal(EVP_PKEY_eq(private, public), 1);
		assert_int_equal(EVP_PKEY_eq(key->pkey, public), 1);
		EVP_PKEY_free(private);
		EVP_PKEY_free(public);
		BIO_free(bio);
		dkim_key_pem_free(pem);
		dkim_key_free(key);
	}
}

static void test_not_readable(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	char err[1024] = "";
	struct dkim_key *key = NULL;
	assert_int_equal(seteuid(65533), 0);
	int r = dkim_key_load(in_dir("good"), 65533, &key, err, sizeof(err));
	assert_int_equal(seteuid(0), 0);
	assert_int_equal(r, -EINVAL);
	assert_null(key);
	assert_non_null(strstr(err, "not readable by user id 65533"));

	/* Root, who checks for that user, can read it: no reason to call it good. */
	err[0] = '\0';
	r = dkim_key_load(in_dir("good"), 65533, &key, err, sizeof(err));
	assert_int_equal(r, -EINVAL);
	assert_non_null(strstr(err, "not readable by user id 65533"));
	assert_int_equal(
	    dkim_key_load(in_dir("group-readable"), 65533, &key, err, sizeof(err)), 0);
	dkim_key_free(key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_load),
	    cmocka_unit_test(test_public_half),
	    cmocka_unit_test(test_not_readable),
	};
	return cmocka_run_group_tests(tests, make_files, remove_files);
}
