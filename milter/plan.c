/* SPDX-License-Identifier: BSD-2-Clause */
#include "milter/plan.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int add_edit(
    struct plan *plan, enum edit_kind kind, size_t index, const char *name,
    const char *value)
{
	if (plan->count == plan->allocated) {
		size_t allocated = plan->allocated ? plan->allocated * 2 : 8;
		struct edit *edits = realloc(plan->edits, allocated * sizeof(*edits));
		if (!edits)
			return -ENOMEM;
		plan->edits = edits;
		plan->allocated = allocated;
	}
	assert(index <= HEADERS_MAX);
	struct edit edit = {.kind = kind, .index = (int)index};
	edit.name = strdup(name);
	edit.value = value ? strdup(value) : NULL;
	if (!edit.name || (value && !edit.value)) {
		free(edit.name);
		free(edit.value);
		return -ENOMEM;
	}
	plan->edits[plan->count++] = edit;
	return 0;
}

static int delete_all(struct plan *plan, const struct headers *headers, const char *name)
{
	int r = 0;
	for (size_t i = headers_count(headers, name); i > 0 && r == 0; i--)
		r = add_edit(plan, EDIT_DELETE, i, name, NULL);
	return r;
}

static int mask_all(struct plan *plan, const struct plan_input *input)
{
	char value[MASK_VALUE_MAX];
	size_t instance = headers_count(input->headers, "Received");
	int r = 0;
	for (size_t i = input->headers->count; i > 0 && r == 0; i--) {
		if (!header_is(input->headers, i - 1, "Received"))
			continue;
		mask_upstream(
		    header_value(input->headers, i - 1),
		    input->headers->items[i - 1].value_len, &input->client, &input->hop,
		    value);
		r = add_edit(plan, EDIT_CHANGE, instance--, "Received", value);
	}
	return r;
}

static int plan_upstream(struct plan *plan, const struct plan_input *input)
{
	enum upstream_received upstream = input->config->milter.mask.upstream;
	if (plan_removes(input->config, "Received"))
		upstream = UPSTREAM_REMOVE;
	switch (upstream) {
	case UPSTREAM_KEEP:
		return 0;
	case UPSTREAM_MASK:
		return mask_all(plan, input);
	case UPSTREAM_REMOVE:
		return delete_all(plan, input->headers, "Received");
	}
	assert(0);
	return 0;
}

static int plan_removals(struct plan *plan, const struct plan_input *input)
{
	const struct string_list *names = &input->config->milter.mask.remove;
	int r = 0;
	for (size_t i = 0; i < names->count && r == 0; i++) {
		bool repeated = strcasecmp(names->items[i], "Received") == 0;
		for (size_t j = 0; j < i; j++)
			repeated =
			    repeated || strcasecmp(names->items[i], names->items[j]) == 0;
		if (!repeated)
			r = delete_all(plan, input->headers, names->items[i]);
	}
	return r;
}

static int plan_own(struct plan *plan, const struct plan_input *input)
{
	char value[MASK_VALUE_MAX];
	mask_own(&input->hop, value);
	int r = add_edit(plan, EDIT_INSERT, 0, "Received", value);
	if (r == 0)
		r = add_edit(plan, EDIT_DELETE, 1, "Received", NULL);
	return r;
}

static int plan_all(struct plan *plan, const struct plan_input *input)
{
	int r = 0;
	if (input->mask) {
		r = plan_upstream(plan, input);
		if (r == 0)
			r = plan_removals(plan, input);
		if (r == 0)
			r = plan_own(plan, input);
	}
	/* Each takes the place of the one before. */
	for (size_t i = input->signatures_count; r == 0 && i > 0; i--)
		r = add_edit(
		    plan, EDIT_INSERT, 1, "DKIM-Signature", input->signatures[i - 1]);
	return r;
}

int plan_make(const struct plan_input *input, struct plan *ret)
{
	*ret = (struct plan){0};
	int r = plan_all(ret, input);
	if (r < 0)
		plan_done(ret);
	return r;
}

void plan_done(struct plan *plan)
{
	for (size_t i = 0; i < plan->count; i++) {
		free(plan->edits[i].name);
		free(plan->edits[i].value);
	}
	free(plan->edits);
	*plan = (struct plan){0};
}

bool plan_removes(const struct config *config, const char *name)
{
	const struct string_list *names = &config->milter.mask.remove;
	for (size_t i = 0; i < names->count; i++) {
		if (strcasecmp(names->items[i], name) == 0)
			return true;
	}
	return false;
}
