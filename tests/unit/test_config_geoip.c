/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs in the folder with the databases that tests/meson.build has made. */
#include "common/config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* The table's databases were built on 2026-01-05 and are old when they are read. */
static const struct {
	const char *why;
	const char *json;
	unsigned flags;
	bool has_database;
	const char *error, *notice; /* a part of the line at its place; NULL: none */
} rows[] = {
    {"nothing is asked", "{}", CONFIG_LOAD_GEOIP, false, NULL, NULL},
    {"a database, relative to the file",
     "{\"geoip\": {\"country\": \"country.mmdb\"},\n \"auth\": {\"countries\": "
     "[\"DE\"]}}",
     CONFIG_LOAD_GEOIP, true, NULL, ":1:23: geoip.country: country database "},
    {"its age is said, and what to do", "{\"geoip\": {\"country\": \"country.mmdb\"}}",
     CONFIG_LOAD_GEOIP, true, NULL, "days old: networks have moved since; update it"},
    {"who does not look does not load", "{\"geoip\": {\"country\": \"missing.mmdb\"}}",
     CONFIG_LOAD_KEYS, false, NULL, NULL},
    {"missing", "{\"geoip\": {\"country\": \"missing.mmdb\"}}", CONFIG_LOAD_GEOIP, false,
     ":1:23: geoip.country: country database ", NULL},
    {"missing, said why", "{\"geoip\": {\"country\": \"missing.mmdb\"}}",
     CONFIG_LOAD_GEOIP, false, "missing.mmdb cannot be opened: No such file", NULL},
    {"of another kind", "{\n\"geoip\": {\"country\": \"asn.mmdb\"}}", CONFIG_LOAD_GEOIP,
     false, ":2:22: geoip.country: country database ", NULL},
    {"a list of logins without a database",
     "{\"auth\": {\"countries\": [\"DE\", \"AT\"]}}", CONFIG_LOAD_GEOIP, false, NULL,
     ":1:24: auth.countries: geoip.country names no database"},
    {"a block list without a database", "{\"block\": {\"countries\": [\"RU\"]}}",
     CONFIG_LOAD_GEOIP, false, NULL,
     ":1:25: block.countries: geoip.country names no database"},
    {"an empty list asks for nothing",
     "{\"block\": {\"countries\": []}, \"geoip\": {\"country\": \"\"}}",
     CONFIG_LOAD_GEOIP, false, NULL, NULL},
    {"a country by name", "{\"block\": {\"countries\": [\"Russia\"]}}", 0, false,
     "expected a country code of two capital letters", NULL},
    {"in small letters", "{\"auth\": {\"countries\": [\"de\"]}}", 0, false,
     "expected a country code of two capital letters", NULL},
    {"a limit counts countries and there is no database",
     "{\"limits\": [{\"name\": \"r\", \"per\": \"user\", \"count\": \"countries\", "
     "\"max\": 3, \"window\": \"1d\"}]}",
     0, false, NULL, "r counts countries without a database"},
    {"the check may be in shadow", "{\"shadow\": [\"country\"]}", 0, false, NULL, NULL},
};

static bool is_said(const struct string_list *lines, const char *part)
{
	if (!part)
		return lines->count == 0;
	for (size_t i = 0; i < lines->count; i++)
		if (strstr(lines->items[i], part))
			return true;
	return false;
}

static const char *first(const struct string_list *lines)
{
	return lines->count > 0 ? lines->items[0] : "nothing";
}

static void loads(void **state)
{
	(void)state;
	char name[] = "config-geoip-XXXXXX.json";
	int fd = mkstemps(name, 5);
	assert_true(fd >= 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		static const struct string_list none;
		struct config_errors errors;
		struct config *config = NULL;
		size_t len = strlen(rows[i].json);

		assert_int_equal(ftruncate(fd, 0), 0);
		assert_int_equal(pwrite(fd, rows[i].json, len, 0), (ssize_t)len);
		int r = config_load(name, rows[i].flags, &config, &errors);
		if (r != (rows[i].error ? -EINVAL : 0) ||
		    !is_said(&errors.lines, rows[i].error))
			fail_msg(
			    "%s: %d, errors: %s", rows[i].why, r, first(&errors.lines));
		if (!is_said(config ? &config->notices : &none, rows[i].notice))
			fail_msg(
			    "%s: notices: %s", rows[i].why,
			    first(config ? &config->notices : &none));
		if (config && (config->geoip != NULL) != rows[i].has_database)
			fail_msg("%s: the database", rows[i].why);
		config_errors_done(&errors);
		config_unref(config);
	}
	close(fd);
	unlink(name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(loads)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
