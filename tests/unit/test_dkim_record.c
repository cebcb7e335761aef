/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/dkim_record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Some RSA key of 1024 bits, and the example of RFC 8463, appendix A.2. */
#define RSA_P                                                                            \
	"MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCmOLNDFhU6dJKFc40rLPFrG1zOSe6WeV"         \
	"iAtZewFJclxEruB5Wo4VH9GHXm/QOTw2tiMIuy1sVb+UPda51W/mvmsr4hkSmrI6bg20Oh"         \
	"8yIfJ8692fjc9J0c3wm0FIXDdeUKlUlpyvM4ot1Uoh2+IvDHTm5BLwvR71JDkgX1N4rABQ"         \
	"IDAQAB"
#define ED_P       "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
#define OTHER_ED_P "MTFxWUFZS3hDcmZWUy83VHlXUUhPZzdoY3ZQYXBpTWw="

static char rsa_p[] = RSA_P, ed_p[] = ED_P;
static const struct dkim_key rsa = {.algorithm = DKIM_RSA_SHA256, .public_base64 = rsa_p};
static const struct dkim_key ed = {
    .algorithm = DKIM_ED25519_SHA256, .public_base64 = ed_p};

#define MATCHES   DKIM_RECORD_MATCHES
#define OTHER_KEY DKIM_RECORD_OTHER_KEY
#define REVOKED   DKIM_RECORD_REVOKED
#define UNUSABLE  DKIM_RECORD_UNUSABLE
#define NONE      DKIM_RECORD_NONE

static const struct {
	const char *why;
	const struct dkim_key *key;
	const char *record;
	enum dkim_record_match match;
	const char *said; /* part of it */
} rows[] = {
    {"as we print it", &rsa, "v=DKIM1; k=rsa; p=" RSA_P, MATCHES, ""},
    {"as we print it, Ed25519", &ed, "v=DKIM1; k=ed25519; p=" ED_P, MATCHES, ""},
    {"v= may be missing", &rsa, "k=rsa; p=" RSA_P, MATCHES, ""},
    {"k= is rsa unless said", &rsa, "p=" RSA_P ";", MATCHES, ""},
    {"blanks everywhere", &ed,
     " v = DKIM1 ;\tk = ed25519 ; p = 11qYAYKxCrfVS/7TyWQHOg7h cvPapiMlrwIaaPcHURo =  ; ",
     MATCHES, ""},
    {"tags nobody knows", &ed, "v=DKIM1; x=1; k=ed25519; g=*; n=a note; p=" ED_P, MATCHES,
     ""},
    {"hashes, ours among them", &ed, "v=DKIM1;h=sha1 : sha256;k=ed25519;p=" ED_P, MATCHES,
     ""},
    {"services, mail among them", &ed, "v=DKIM1;s=x:email;k=ed25519;p=" ED_P, MATCHES,
     ""},
    {"t=s: we sign as d= itself", &ed, "v=DKIM1;t=s;k=ed25519;p=" ED_P, MATCHES, ""},
    {"testing", &ed, "v=DKIM1;t=s:y;k=ed25519;p=" ED_P, MATCHES, "t=y"},
    {"another key", &ed, "v=DKIM1;k=ed25519;p=" OTHER_ED_P, OTHER_KEY,
     "another key (its p= ends in "},
    {"a prefix of the key", &ed, "v=DKIM1;k=ed25519;p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMl",
     OTHER_KEY, "another key"},
    {"an RSA key that does not parse", &rsa, "p=AAAA", OTHER_KEY, "another key"},
    {"revoked", &rsa, "v=DKIM1; p=", REVOKED, "revoked"},
    {"revoked, with blanks", &rsa, "v=DKIM1; p= ;", REVOKED, "revoked"},
    {"another version", &rsa, "v=DKIM2; p=" RSA_P, UNUSABLE, "v=DKIM2"},
    {"versions are written large", &rsa, "v=dkim1; p=" RSA_P, UNUSABLE, "v=dkim1"},
    {"v= comes first", &rsa, "p=" RSA_P "; v=DKIM1", UNUSABLE, "first tag"},
    {"an Ed25519 record for an RSA key", &rsa, "v=DKIM1; k=ed25519; p=" RSA_P, UNUSABLE,
     "k=ed25519, not k=rsa"},
    {"an RSA record for an Ed25519 key", &ed, "v=DKIM1; k=rsa; p=" ED_P, UNUSABLE,
     "k=rsa, not k=ed25519"},
    {"an Ed25519 record that does not say so", &ed, "v=DKIM1; p=" ED_P, UNUSABLE,
     "k=rsa, not k=ed25519"},
    {"SHA-1 alone", &rsa, "v=DKIM1; h=sha1; p=" RSA_P, UNUSABLE, "h=sha1"},
    {"for something else than mail", &rsa, "v=DKIM1; s=tlsrpt; p=" RSA_P, UNUSABLE,
     "s=tlsrpt"},
    {"a tag twice", &rsa, "v=DKIM1; p=" RSA_P "; p=" RSA_P, UNUSABLE, "a tag twice"},
    {"no base64", &rsa, "v=DKIM1; p=!!!!", UNUSABLE, "no base64"},
    {"base64 cut short", &ed, "v=DKIM1; k=ed25519; p=11qYA", UNUSABLE, "no base64"},
    {"a part that is no tag", &rsa, "v=DKIM1; hello; p=" RSA_P, UNUSABLE,
     "without \"=\""},
    {"SPF at the same name", &rsa, "v=spf1 -all", NONE, "\"v=spf1 -all\""},
    {"nothing at all", &rsa, "", NONE, "no DKIM key"},
    {"odd bytes are escaped", &rsa, "x\ny", NONE, "x\\x0ay"},
};

static void test_compare(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char said[DKIM_RECORD_TEXT_MAX] = "before";
		enum dkim_record_match got = dkim_record_compare(
		    rows[i].key, rows[i].record, strlen(rows[i].record), said);
		if (got != rows[i].match || !strstr(said, rows[i].said) ||
		    (rows[i].said[0] == '\0' && said[0] != '\0'))
			fail_msg("%s: %d \"%s\"", rows[i].why, (int)got, said);
	}
}

/* A thousand tags, and no tag longer than the record, must not break anything. */
static void test_many_tags(void **state)
{
	char text[4096], said[DKIM_RECORD_TEXT_MAX];
	size_t len = (size_t)snprintf(text, sizeof(text), "v=DKIM1");
	(void)state;
	for (int i = 0; len < sizeof(text) - 20; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, ";a%d=", i);
	assert_int_equal(
	    dkim_record_compare(&rsa, text, len, said), DKIM_RECORD_UNUSABLE);
	assert_non_null(strstr(said, "too many tags"));
}

static void test_printed(void **state)
{
	char said[DKIM_RECORD_TEXT_MAX], long_text[700];
	(void)state;
	char *name = dkim_record_name("s1", "example.org");
	assert_string_equal(name, "s1._domainkey.example.org");
	char *text = dkim_record_text(&ed);
	assert_string_equal(text, "v=DKIM1; k=ed25519; p=" ED_P);
	char *line = dkim_record_zone_line(name, text);
	assert_string_equal(
	    line,
	    "s1._domainkey.example.org. IN TXT ( \"v=DKIM1; k=ed25519; p=" ED_P "\" )");
	free(line);
	free(text);
	text = dkim_record_text(&rsa);
	assert_int_equal(
	    dkim_record_compare(&rsa, text, strlen(text), said), DKIM_RECORD_MATCHES);
	free(text);

	/* Strings of 255 bytes, the last shorter; nothing lost between them. */
	memset(long_text, 'x', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	line = dkim_record_zone_line("n", long_text);
	size_t strings = 0, letters = 0, run = 0;
	for (const char *at = strchr(line, '('); *at; at++) {
		run = *at == 'x' ? run + 1 : 0;
		letters += *at == 'x';
		strings += *at == '"';
		assert_true(run <= 255);
	}
	assert_int_equal(strings, 6);
	assert_int_equal(letters, sizeof(long_text) - 1);
	free(line);
	free(name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_compare),
	    cmocka_unit_test(test_many_tags),
	    cmocka_unit_test(test_printed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
