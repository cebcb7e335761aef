/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/limit_cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

static struct charge charges[LIMITS_MAX];
static struct outcome outcome;

static json_int_t number(const json_t *charge, const char *name, json_int_t otherwise)
{
	const json_t *value = json_object_get(charge, name);
	return value ? json_integer_value(value) : otherwise;
}

static bool flag(const json_t *charge, const char *name, bool otherwise)
{
	const json_t *value = json_object_get(charge, name);
	return value ? json_is_true(value) : otherwise;
}

static void read_charge(const json_t *value, struct charge *ret)
{
	const json_t *member = json_object_get(value, "member");
	const json_t *key = json_object_get(value, "key");

	assert_true(json_string_length(key) < sizeof(ret->key));
	assert_true(json_string_length(member) <= sizeof(ret->member));
	*ret = (struct charge){
	    .window_s = (uint32_t)number(value, "window", 60),
	    .amount = (uint64_t)number(value, "amount", 1),
	    .max = (uint64_t)number(value, "max", 2),
	    .hard = flag(value, "hard", true),
	    .look = flag(value, "look", false),
	    .key_len = (uint16_t)json_string_length(key),
	    .member_len = (uint16_t)json_string_length(member),
	};
	memcpy(ret->key, json_string_value(key), ret->key_len);
	if (member)
		memcpy(ret->member, json_string_value(member), ret->member_len);
}

static void print_outcome(char *buf, size_t size)
{
	size_t len = (size_t)snprintf(
	    buf, size, "%s",
	    outcome.kind == OUTCOME_FITS   ? "fits"
	    : outcome.kind == OUTCOME_OVER ? "over"
					   : "unavailable");

	for (size_t i = 0; i < outcome.count && len < size; i++)
		len += (size_t)snprintf(
		    buf + len, size - len, " [%llu, %s, %u]",
		    (unsigned long long)outcome.results[i].used,
		    outcome.results[i].over ? "true" : "false",
		    outcome.results[i].retry_after_s);
}

static void print_wanted(const json_t *step, char *buf, size_t size)
{
	size_t len = (size_t)snprintf(
	    buf, size, "%s", json_string_value(json_object_get(step, "kind")));
	size_t i;
	json_t *result;

	json_array_foreach(json_object_get(step, "results"), i, result)
	{
		if (len >= size)
			break;
		len += (size_t)snprintf(
		    buf + len, size - len, " [%llu, %s, %u]",
		    (unsigned long long)json_integer_value(json_array_get(result, 0)),
		    json_is_true(json_array_get(result, 1)) ? "true" : "false",
		    (unsigned)json_integer_value(json_array_get(result, 2)));
	}
}

static void run_step(
    const struct limit_asker *asker, const char *why, size_t n, const json_t *step,
    int64_t begin_ms)
{
	static char got[8192], wanted[8192];
	const json_t *token = json_object_get(step, "token");
	json_t *value;
	size_t count;

	json_array_foreach(json_object_get(step, "charges"), count, value)
	{
		assert_true(count < LIMITS_MAX);
		read_charge(value, &charges[count]);
	}
	outcome = (struct outcome){.kind = OUTCOME_UNAVAILABLE};
	asker->ask(
	    asker->context, token ? json_string_value(token) : "",
	    json_string_length(token), charges, count,
	    begin_ms + json_integer_value(json_object_get(step, "at")), &outcome);
	print_outcome(got, sizeof(got));
	print_wanted(step, wanted, sizeof(wanted));
	if (strcmp(got, wanted) != 0)
		fail_msg(
		    "%s: %s: step %zu: got %s, wanted %s", asker->name, why, n + 1, got,
		    wanted);
}

size_t limit_cases_run(const struct limit_asker *asker)
{
	json_error_t error;
	json_t *root =
	    json_load_file(POSTERN_SOURCE "/tests/limit_cases.json", 0, &error);
	json_t *one, *step;
	size_t i, n, asked = 0;

	if (!root)
		fail_msg("limit_cases.json:%d: %s", error.line, error.text);
	int64_t begin_ms = json_integer_value(json_object_get(root, "begin"));
	json_array_foreach(json_object_get(root, "cases"), i, one)
	{
		asker->begin(asker->context);
		json_array_foreach(json_object_get(one, "steps"), n, step)
		{
			run_step(
			    asker, json_string_value(json_object_get(one, "why")), n,
			    step, begin_ms);
			asked++;
		}
	}
	json_decref(root);
	return asked;
}
