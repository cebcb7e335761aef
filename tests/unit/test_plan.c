/* SPDX-License-Identifier: BSD-2-Clause */
#include "milter/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

/*
 * A model of how Postfix edits headers (cleanup_milter.c): its own Received header stands
 * on top; while it counts instances of a name it skips, once, the first header whose
 * first line is a prefix of that header's text.
 */
#define OWN       "Received: from pc (pc.isp.example [192.0.2.55])"
#define MODEL_MAX 64

struct model {
	char *lines[MODEL_MAX]; /* "Name:value", folds as \n */
	size_t count;
};

static void model_insert(struct model *model, size_t at, const char *text)
{
	assert_true(model->count < MODEL_MAX);
	if (at > model->count)
		at = model->count;
	memmove(
	    model->lines + at + 1, model->lines + at,
	    (model->count - at) * sizeof(model->lines[0]));
	model->lines[at] = strdup(text);
	model->count++;
}

static void model_remove(struct model *model, size_t at)
{
	free(model->lines[at]);
	memmove(
	    model->lines + at, model->lines + at + 1,
	    (model->count - at - 1) * sizeof(model->lines[0]));
	model->count--;
}

static bool is_named(const char *line, const char *name)
{
	return strncasecmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':';
}

static size_t model_find(const struct model *model, const char *name, int instance)
{
	bool hidden = false;
	for (size_t i = 0; i < model->count; i++) {
		const char *line = model->lines[i];
		if (!is_named(line, name))
			continue;
		if (!hidden && strncmp(OWN, line, strcspn(line, "\n")) == 0) {
			hidden = true;
			continue;
		}
		if (--instance == 0)
			return i;
	}
	fail_msg("no %s number %d", name, instance);
	return 0;
}

static void model_apply(struct model *model, const struct plan *plan)
{
	char text[2048];
	for (size_t i = 0; i < plan->count; i++) {
		const struct edit *edit = &plan->edits[i];
		snprintf(
		    text, sizeof(text), "%s:%s", edit->name,
		    edit->value ? edit->value : "");
		size_t at;
		switch (edit->kind) {
		case EDIT_INSERT:
			model_insert(model, (size_t)edit->index, text);
			break;
		case EDIT_CHANGE:
			at = model_find(model, edit->name, edit->index);
			free(model->lines[at]);
			model->lines[at] = strdup(text);
			break;
		case EDIT_DELETE:
			assert_null(edit->value);
			model_remove(model, model_find(model, edit->name, edit->index));
			break;
		}
	}
}

static const struct {
	const char *why;
	bool mask;
	enum upstream_received upstream;
	const char *remove[3];
	const char *came[8]; /* "Name: value" */
	const char *signatures[2];
	const char *want[8]; /* a part of each header, in order */
} rows[] = {
    {"nothing to do",
     false,
     UPSTREAM_MASK,
     {"X-Ip"},
     {"Received: from a by b", "X-Ip: 1", "From: x"},
     {NULL},
     {OWN, "Received: from a by b", "X-Ip: 1", "From: x"}},
    {"a signature stands beneath this hop's header",
     false,
     UPSTREAM_MASK,
     {NULL},
     {"Received: from a by b", "From: x"},
     {" v=1"},
     {OWN, "DKIM-Signature: v=1", "Received: from a by b", "From: x"}},
    {"two signatures, the first above the second",
     false,
     UPSTREAM_MASK,
     {NULL},
     {"Received: from a by b", "From: x"},
     {" v=1", " v=2"},
     {OWN, "DKIM-Signature: v=1", "DKIM-Signature: v=2", "Received: from a by b",
      "From: x"}},
    {"masked and signed twice",
     true,
     UPSTREAM_MASK,
     {NULL},
     {"From: x"},
     {" v=1", " v=2"},
     {"Received: \n\tby gw", "DKIM-Signature: v=1", "DKIM-Signature: v=2", "From: x"}},
    {"masked, nothing came along",
     true,
     UPSTREAM_MASK,
     {NULL},
     {"From: x"},
     {NULL},
     {"Received: \n\tby gw", "From: x"}},
    {"masked and signed",
     true,
     UPSTREAM_MASK,
     {NULL},
     {"From: x"},
     {" v=1"},
     {"Received: \n\tby gw", "DKIM-Signature: v=1", "From: x"}},
    {"three that came along are masked, each in its place",
     true,
     UPSTREAM_MASK,
     {NULL},
     {"Received: from a by m1.x.example id 1", "X-A: 1",
      "received: from b by m2.x.example id 2", "Received: from c by m3.x.example id 3",
      "From: x"},
     {" v=1"},
     {"Received: \n\tby gw", "DKIM-Signature", "Received: by m1.x.example id 1", "X-A: 1",
      "Received: by m2.x.example id 2", "Received: by m3.x.example id 3", "From: x"}},
    {"kept",
     true,
     UPSTREAM_KEEP,
     {NULL},
     {"Received: from a by b", "Received: from c by d", "From: x"},
     {NULL},
     {"Received: \n\tby gw", "Received: from a by b", "Received: from c by d",
      "From: x"}},
    {"removed",
     true,
     UPSTREAM_REMOVE,
     {NULL},
     {"Received: from a by b", "X-A: 1", "Received: from c by d", "From: x"},
     {" v=1"},
     {"Received: \n\tby gw", "DKIM-Signature", "X-A: 1", "From: x"}},
    {"one that came along has an empty first line too",
     true,
     UPSTREAM_MASK,
     {NULL},
     {"Received: \n\tfrom a by m1.x.example id 1", "From: x"},
     {NULL},
     {"Received: \n\tby gw", "Received: by m1.x.example id 1", "From: x"}},
    {"removal of all instances, any case, named twice",
     true,
     UPSTREAM_KEEP,
     {"X-Ip", "x-iP", "X-Other"},
     {"X-Ip: 1", "From: x", "x-ip: 2", "X-IP: 3", "X-Ips: 4"},
     {NULL},
     {"Received: \n\tby gw", "From: x", "X-Ips: 4"}},
    {"Received among the removed",
     true,
     UPSTREAM_MASK,
     {"received"},
     {"Received: from a by b", "Received: from c by d", "From: x"},
     {NULL},
     {"Received: \n\tby gw", "From: x"}},
    {"an old signature is removed, ours stays",
     true,
     UPSTREAM_MASK,
     {"DKIM-Signature"},
     {"DKIM-Signature: old", "From: x"},
     {" v=1"},
     {"Received: \n\tby gw", "DKIM-Signature: v=1", "From: x"}},
};

static void add_header(struct headers *headers, const char *line)
{
	char name[64];
	const char *colon = strchr(line, ':');
	snprintf(name, sizeof(name), "%.*s", (int)(colon - line), line);
	assert_int_equal(headers_add(headers, name, colon + 1), 0);
}

static void run_row(size_t i)
{
	struct config config = {0};
	char *removed[3] = {0};
	config.milter.mask.upstream = rows[i].upstream;
	config.milter.mask.remove.items = removed;
	for (size_t j = 0; j < 3 && rows[i].remove[j]; j++)
		removed[config.milter.mask.remove.count++] =
		    (char *)(uintptr_t)rows[i].remove[j];

	struct headers headers = {0};
	struct model model = {0};
	model_insert(&model, 0, OWN);
	for (size_t j = 0; j < 8 && rows[i].came[j]; j++) {
		add_header(&headers, rows[i].came[j]);
		model_insert(&model, model.count, rows[i].came[j]);
	}
	char *signatures[2] = {0};
	size_t signatures_count = 0;
	for (; signatures_count < 2 && rows[i].signatures[signatures_count];
	     signatures_count++)
		signatures[signatures_count] =
		    (char *)(uintptr_t)rows[i].signatures[signatures_count];
	struct plan_input input = {
	    .config = &config,
	    .headers = &headers,
	    .mask = rows[i].mask,
	    .hop = {.hostname = "gw.example.org", .queue_id = "1", .esmtp = true},
	    .signatures = signatures,
	    .signatures_count = signatures_count,
	};
	struct plan plan;
	assert_int_equal(plan_make(&input, &plan), 0);
	model_apply(&model, &plan);

	for (size_t j = 0; j < 8; j++) {
		const char *want = rows[i].want[j];
		if (!want && j != model.count)
			fail_msg(
			    "%s: %zu headers, wanted %zu", rows[i].why, model.count, j);
		if (!want)
			break;
		if (j >= model.count || !strstr(model.lines[j], want))
			fail_msg(
			    "%s: header %zu is \"%s\", wanted \"%s\"", rows[i].why, j,
			    j < model.count ? model.lines[j] : "(none)", want);
	}
	while (model.count > 0)
		model_remove(&model, model.count - 1);
	plan_done(&plan);
	headers_done(&headers);
}

static void test_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		run_row(i);
}

static void test_headers_bounded(void **state)
{
	(void)state;
	struct headers headers = {0};
	for (int i = 0; i < HEADERS_MAX; i++)
		assert_int_equal(headers_add(&headers, "X", " y"), 0);
	assert_false(headers.over);
	assert_int_equal(headers_add(&headers, "X", " y"), 0);
	assert_true(headers.over);
	assert_int_equal(headers.count, HEADERS_MAX);
	headers_done(&headers);

	char *large = malloc(60001);
	memset(large, 'a', 60000);
	large[60000] = '\0';
	for (int i = 0; i < 100; i++)
		assert_int_equal(headers_add(&headers, "X", large), 0);
	assert_true(headers.over);
	assert_true(headers.text_allocated <= HEADERS_MAX_BYTES);
	free(large);
	headers_done(&headers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_table),
	    cmocka_unit_test(test_headers_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
