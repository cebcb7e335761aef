/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/core/checks/check.h"

#include "common/printable.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void finding_none(struct finding *ret, const char *why)
{
	ret->result = CHECK_NOT_APPLICABLE;
	ret->why = why;
}

void finding_pass(struct finding *ret, const char *why)
{
	ret->result = CHECK_PASSED;
	ret->why = why;
}

void finding_cannot_tell(struct finding *ret, enum failure failure, const char *why)
{
	ret->result = CHECK_CANNOT_TELL;
	ret->failure = failure;
	ret->why = why;
}

void finding_object(
    struct finding *ret, int code, const char *dsn, const char *why, const char *format,
    ...)
{
	struct verdict *verdict = &ret->verdict;
	va_list args;

	ret->result = CHECK_OBJECTED;
	ret->why = why;
	verdict->action = ACTION_REPLY;
	verdict->limit = NULL;
	verdict->code = code;
	snprintf(verdict->dsn, sizeof(verdict->dsn), "%s", dsn);
	va_start(args, format);
	int len = vsnprintf(verdict->text, sizeof(verdict->text), format, args);
	va_end(args);

	/* What the log adds: the entry, where it stands. */
	verdict->reason[0] = '\0';
	if (!ret->matched)
		return;
	if (ret->match.reason && len > 0 && (size_t)len + 3 < sizeof(verdict->text)) {
		size_t used = (size_t)len;
		memcpy(verdict->text + used, ": ", 3);
		printable(
		    verdict->text + used + 2, sizeof(verdict->text) - used - 2,
		    ret->match.reason, strlen(ret->match.reason));
	}
	char entry[128];
	printable(entry, sizeof(entry), ret->match.text, strlen(ret->match.text));
	snprintf(
	    verdict->reason, sizeof(verdict->reason), "entry %s at %s:%u", entry,
	    ret->match.where.file ? ret->match.where.file : "?", ret->match.where.line);
}

void finding_defer(struct finding *ret, enum failure failure, enum check_id check)
{
	ret->result = CHECK_OBJECTED;
	ret->failure = failure;
	failure_verdict(failure, check, false, &ret->verdict);
	ret->why = "a permission that cannot be judged now";
}
