/* SPDX-License-Identifier: BSD-2-Clause */
#include "ctl/subject.h"

#include <stddef.h>
#include <string.h>

/* Of an IPv6 address what stands before the colon is none of these. */
static const char *const kinds[] = {
    "client", "user", "sender", "sender_domain", "recipient", "recipient_domain",
};

json_t *ctl_subject_message(const char *command, const char *subject)
{
	const char *kind = NULL;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t len = strlen(kinds[i]);
		if (strncmp(subject, kinds[i], len) != 0 || subject[len] != ':')
			continue;
		kind = kinds[i];
		subject += len + 1;
		break;
	}
	if (subject[0] == '\0')
		return NULL;
	json_t *message = json_pack("{s:s, s:s}", "command", command, "subject", subject);
	if (message && kind)
		json_object_set_new(message, "kind", json_string(kind));
	return message;
}
