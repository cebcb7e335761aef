/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/control.h"

#include <inttypes.h>
#include <string.h>

static const struct control_member *find(
    const struct control_member *members, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(members[i].name, name) == 0)
			return &members[i];
	return NULL;
}

/* False: refused. */
static bool take_text(
    struct control_request *request, const struct control_member *member,
    const json_t *value)
{
	size_t len = json_string_length(value);

	if (!json_is_string(value))
		control_refuse(
		    request, CONTROL_WRONG_USE, "\"%s\" wants a text", member->name);
	else if (len == 0)
		control_refuse(
		    request, CONTROL_WRONG_USE, "\"%s\" is empty", member->name);
	else if (len > member->max)
		control_refuse(
		    request, CONTROL_WRONG_USE, "\"%s\" is longer than %" PRIu64 " bytes",
		    member->name, member->max);
	else
		*member->text = json_string_value(value);
	return len > 0 && len <= member->max;
}

static bool take_count(
    struct control_request *request, const struct control_member *member,
    const json_t *value)
{
	json_int_t number = json_integer_value(value);

	if (!json_is_integer(value) || number < 0 || (uint64_t)number > member->max) {
		control_refuse(
		    request, CONTROL_WRONG_USE,
		    "\"%s\" wants a whole number from 0 to %" PRIu64, member->name,
		    member->max);
		return false;
	}
	*member->count = (uint64_t)number;
	return true;
}

static bool take(
    struct control_request *request, const struct control_member *member,
    const json_t *value)
{
	bool taken = false;

	switch (member->type) {
	case CONTROL_TEXT:
		taken = take_text(request, member, value);
		break;
	case CONTROL_COUNT:
		taken = take_count(request, member, value);
		break;
	}
	if (taken && member->given)
		*member->given = true;
	return taken;
}

bool control_members(
    struct control_request *request, const json_t *message,
    const struct control_member *members, size_t count)
{
	const char *name;
	json_t *value;

	/* jansson's iterator wants a pointer to what it does not change. */
	void *iterator = json_object_iter((json_t *)(uintptr_t)message);
	for (; iterator;
	     iterator = json_object_iter_next((json_t *)(uintptr_t)message, iterator)) {
		name = json_object_iter_key(iterator);
		value = json_object_iter_value(iterator);
		if (strcmp(name, "command") == 0)
			continue;
		const struct control_member *member = find(members, count, name);
		if (!member) {
			control_refuse(
			    request, CONTROL_WRONG_USE, "unknown member \"%.64s\"", name);
			return false;
		}
		if (!take(request, member, value))
			return false;
	}
	for (size_t i = 0; i < count; i++) {
		if (!members[i].required || json_object_get(message, members[i].name))
			continue;
		control_refuse(
		    request, CONTROL_WRONG_USE, "\"%s\" is missing", members[i].name);
		return false;
	}
	return true;
}
