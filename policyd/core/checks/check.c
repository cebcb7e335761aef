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

/*
 * ISO 8601, UTC: the client's reader may be anywhere. By arithmetic (Hinnant's
 * civil_from_days), because nothing in here knows time zones or locales.
 */
static void print_end(int64_t until_s, char buf[static 40])
{
	int64_t days = until_s / 86400 + 719468, second = until_s % 86400;
	int64_t era = days / 146097, day_of_era = days % 146097;
	int64_t year_of_era =
	    (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) /
	    365;
	int64_t day_of_year =
	    day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	int64_t march_month = (5 * day_of_year + 2) / 153;
	int64_t day = day_of_year - (153 * march_month + 2) / 5 + 1;
	int64_t month = march_month < 10 ? march_month + 3 : march_month - 9;
	int64_t year = year_of_era + era * 400 + (month <= 2);

	snprintf(
	    buf, 40, "%04d-%02d-%02dT%02d:%02d:%02dZ", (int)year, (int)month, (int)day,
	    (int)(second / 3600), (int)(second / 60 % 60), (int)(second % 60));
}

void finding_blocked(
    struct finding *ret, const struct blocked *blocked, enum block_kind kind,
    bool says_end, const char *text)
{
	static const char *const kinds[BLOCK_KINDS] = {
	    [BLOCK_CLIENT] = "client",
	    [BLOCK_USER] = "user",
	    [BLOCK_SENDER] = "sender",
	    [BLOCK_RECIPIENT] = "recipient",
	};
	bool ends = blocked->until_s != 0;
	char end[40] = "";
	const char *colon = blocked->reason[0] ? ": " : "";

	ret->matched = false;
	if (ends)
		print_end(blocked->until_s, end);
	if (ends && says_end)
		finding_object(
		    ret, 450, "4.7.1", "blocked at run time for a time",
		    "%s until %s%s%s", text, end, colon, blocked->reason);
	else
		finding_object(
		    ret, 554, "5.7.1", "blocked at run time", "%s%s%s", text, colon,
		    blocked->reason);
	snprintf(
	    ret->verdict.reason, sizeof(ret->verdict.reason),
	    "blocked by %s%s%s; lift it with: postern unblock %s %s",
	    blocked->by[0] ? blocked->by : "?", ends ? " until " : "", end, kinds[kind],
	    blocked->subject);
}

void finding_defer(struct finding *ret, enum failure failure, enum check_id check)
{
	ret->result = CHECK_OBJECTED;
	ret->failure = failure;
	failure_verdict(failure, check, false, &ret->verdict);
	ret->why = "a permission that cannot be judged now";
}
