/* SPDX-License-Identifier: BSD-2-Clause */
#include "milter/release.h"

#include "common/log.h"
#include "common/printable.h"

#include <pthread.h>
#include <stddef.h>
#include <string.h>

/*
 * 3.7: seen on 3.7.11 (Debian 12) by the end-to-end tests, of which those of
 * headers, masking and other milters ran on 3.8.20, 3.9.14, 3.10.13 and 3.11.6 built from
 * source too (POSTERN_POSTFIX names such a tree). A snapshot of 3.12 was
 * measured by hand; it is not a release.
 */
static const char *const proven[] = {"3.7.", "3.8.", "3.9.", "3.10.", "3.11."};

/* More releases than one machine sees in the life of a process. */
#define SEEN_MAX 8

bool release_is_proven(const char *version)
{
	const char *number = version ? strrchr(version, ' ') : NULL;
	number = number ? number + 1 : version;
	for (size_t i = 0; number && i < sizeof(proven) / sizeof(proven[0]); i++) {
		if (strncmp(number, proven[i], strlen(proven[i])) == 0)
			return true;
	}
	return false;
}

/* True the first time; also once the table is full, false. */
static bool is_new(const char *version)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static char seen[SEEN_MAX][64];
	static size_t count;
	bool found = false;
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < count; i++)
		found = found || strcmp(seen[i], version) == 0;
	bool is_new = !found && count < SEEN_MAX;
	if (is_new)
		strcpy(seen[count++], version);
	pthread_mutex_unlock(&lock);
	return is_new;
}

void release_warn_once(const char *version)
{
	char text[64];
	if (release_is_proven(version))
		return;
	if (!version)
		version = "(the macro v is empty)";
	printable(text, sizeof(text), version, strlen(version));
	if (is_new(text))
		log_warning(
		    "masking was not proven on the MTA release \"%s\": send a message "
		    "through a masked port and look whether its Received header shows "
		    "the "
		    "client",
		    text);
}
