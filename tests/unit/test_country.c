/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/core/checks/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What the stories cannot bring about: each state of the fact, damage included. */

enum who { STRANGER, USER };

/* Lists: codes separated by blanks, or NULL. */
static const struct {
	const char *why;
	const char *block, *auth;
	enum country_state state;
	const char *country;
	enum who who;
	enum protocol_state at;
	enum check_result result;
	const char *reply;    /* how it begins, with CHECK_OBJECTED */
	enum failure failure; /* with CHECK_CANNOT_TELL */
} rows[] = {
    {"no list, nothing asked", NULL, NULL, COUNTRY_NOT_ASKED, "", USER, STATE_RCPT,
     CHECK_NOT_APPLICABLE, "", 0},
    {"a list for logins and a stranger", NULL, "DE", COUNTRY_KNOWN, "RU", STRANGER,
     STATE_RCPT, CHECK_NOT_APPLICABLE, "", 0},
    {"a login is not judged before MAIL", NULL, "DE", COUNTRY_KNOWN, "RU", USER,
     STATE_EHLO, CHECK_NOT_APPLICABLE, "", 0},
    {"a login from inside", NULL, "DE AT", COUNTRY_KNOWN, "AT", USER, STATE_MAIL,
     CHECK_PASSED, "", 0},
    {"a login from outside", NULL, "DE AT", COUNTRY_KNOWN, "RU", USER, STATE_MAIL,
     CHECK_OBJECTED, "554 5.7.1 Authenticated mail is not accepted from country RU", 0},
    {"from nowhere that the database knows", NULL, "DE", COUNTRY_NOT_FOUND, "ZZ", USER,
     STATE_MAIL, CHECK_OBJECTED,
     "554 5.7.1 Authenticated mail is not accepted from country ZZ", 0},
    {"nowhere may be listed", NULL, "DE ZZ", COUNTRY_NOT_FOUND, "ZZ", USER, STATE_MAIL,
     CHECK_PASSED, "", 0},
    {"a private address", "ZZ", "DE", COUNTRY_NONE, "", USER, STATE_MAIL, CHECK_PASSED,
     "", 0},
    {"blocked at once", "RU CN", NULL, COUNTRY_KNOWN, "CN", STRANGER, STATE_CONNECT,
     CHECK_OBJECTED, "554 5.7.1 Clients from country CN are not accepted here", 0},
    {"blocked, logged in or not", "RU", "RU", COUNTRY_KNOWN, "RU", USER, STATE_MAIL,
     CHECK_OBJECTED, "554 5.7.1 Clients from country RU", 0},
    {"not blocked", "RU", NULL, COUNTRY_KNOWN, "DE", STRANGER, STATE_CONNECT,
     CHECK_PASSED, "", 0},
    {"nowhere is not blocked by itself", "RU", NULL, COUNTRY_NOT_FOUND, "ZZ", STRANGER,
     STATE_CONNECT, CHECK_PASSED, "", 0},
    {"nowhere blocked", "ZZ", NULL, COUNTRY_NOT_FOUND, "ZZ", STRANGER, STATE_CONNECT,
     CHECK_OBJECTED, "554 5.7.1 Clients from country ZZ", 0},
    {"no database, a login", NULL, "DE", COUNTRY_NO_DATABASE, "", USER, STATE_MAIL,
     CHECK_OBJECTED, "451 4.7.1 The country", 0},
    {"no database, a login, and only a block list", "RU", NULL, COUNTRY_NO_DATABASE, "",
     USER, STATE_MAIL, CHECK_OBJECTED, "451 4.7.1 The country", 0},
    {"no database, nowhere listed: nothing was looked up", NULL, "ZZ",
     COUNTRY_NO_DATABASE, "", USER, STATE_MAIL, CHECK_OBJECTED, "451 4.7.1", 0},
    {"no database, a stranger passes ungranted", "RU ZZ", "DE", COUNTRY_NO_DATABASE, "",
     STRANGER, STATE_RCPT, CHECK_CANNOT_TELL, "", FAILURE_COUNTRY},
    {"damage passes no list of logins", NULL, "DE ZZ", COUNTRY_DAMAGED, "", USER,
     STATE_MAIL, CHECK_OBJECTED, "451 4.7.1", 0},
    {"damage, a stranger", "RU", NULL, COUNTRY_DAMAGED, "", STRANGER, STATE_RCPT,
     CHECK_CANNOT_TELL, "", FAILURE_COUNTRY_DATA},
    {"damage unlocks nothing", "ZZ", NULL, COUNTRY_DAMAGED, "", STRANGER, STATE_CONNECT,
     CHECK_OBJECTED, "451 4.7.1", 0},
    {"no client_address, a login", NULL, "DE", COUNTRY_NOT_ASKED, "", USER, STATE_MAIL,
     CHECK_OBJECTED, "451 4.7.1 The client address", 0},
    {"no client_address, a stranger", "RU", NULL, COUNTRY_NOT_ASKED, "", STRANGER,
     STATE_CONNECT, CHECK_CANNOT_TELL, "", FAILURE_CLIENT_ADDRESS},
};

static void split(
    const char *codes, char items[8][3], char *pointers[8], struct string_list *ret)
{
	ret->count = 0;
	ret->items = pointers;
	for (; codes && *codes; codes += codes[2] ? 3 : 2) {
		memcpy(items[ret->count], codes, 2);
		items[ret->count][2] = '\0';
		pointers[ret->count] = items[ret->count];
		ret->count++;
	}
}

static void judges(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		static struct facts facts;
		static struct finding finding;
		struct config config = {0};
		char items[2][8][3], *pointers[2][8], got[400] = "";

		split(rows[i].block, items[0], pointers[0], &config.block.countries);
		split(rows[i].auth, items[1], pointers[1], &config.auth.countries);
		memset(&facts, 0, sizeof(facts));
		memset(&finding, 0, sizeof(finding));
		facts.state = rows[i].at;
		facts.authenticated = rows[i].who == USER;
		facts.country_state = rows[i].state;
		snprintf(facts.country, sizeof(facts.country), "%s", rows[i].country);
		check_country(&config, &facts, &finding);
		if (finding.result == CHECK_OBJECTED)
			snprintf(
			    got, sizeof(got), "%d %s %s", finding.verdict.code,
			    finding.verdict.dsn, finding.verdict.text);
		if (finding.result != rows[i].result)
			fail_msg(
			    "%s: result %d (%s) %s", rows[i].why, finding.result,
			    finding.why, got);
		if (strncmp(got, rows[i].reply, strlen(rows[i].reply)) != 0)
			fail_msg("%s: replies %s", rows[i].why, got);
		if (finding.result == CHECK_CANNOT_TELL &&
		    finding.failure != rows[i].failure)
			fail_msg("%s: failure %d", rows[i].why, finding.failure);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(judges)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
