/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/config.h"
#include "common/log.h"
#include "policyd/redis_conn.h"
#include "policyd/redis_link.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * Drives a redis_link for the tests: `redis_probe CONFIG` reads one JSON array a line
 * from standard input and writes one JSON object a line.
 *
 *     ["call", ID, {"timeout": MS, "repeatable": BOOL, "key": KEY}, ARGUMENT...]
 *     ["node", N, ID, {...}, ARGUMENT...]   to the N-th master
 *     ["set", CONFIG]                       another configuration, or null
 *     ["subscribe", CHANNEL]
 *     ["state"]
 *     ["slot", KEY]
 *     ["storm", LOOPS, CALLS]               so many loops, each with a link of its own
 *     ["churn", ROUNDS]                     connects and leaves so often
 *
 * The end of input ends it, everything freed.
 */

struct probe {
	struct event_base *base;
	struct redis_link *link;
	struct config *config;
	struct evbuffer *input;
};

struct asked {
	json_t *id;
	int64_t at_ms;
};

static void say(json_t *line)
{
	json_dumpf(line, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
	json_decref(line);
}

static json_t *reply_json(const struct redis_reply *reply)
{
	size_t len;
	const char *text;

	switch (redis_reply_kind(reply)) {
	case REDIS_NIL:
		return json_null();
	case REDIS_INTEGER:
		return json_integer(redis_reply_integer(reply));
	case REDIS_TEXT:
		text = redis_reply_text(reply, &len);
		return len > 1000 ? json_sprintf("%zu bytes", len)
				  : json_stringn(text, len);
	case REDIS_LIST:
		break;
	}
	json_t *list = json_array();
	for (size_t i = 0; i < redis_reply_count(reply); i++)
		json_array_append_new(list, reply_json(redis_reply_item(reply, i)));
	return list;
}

static const char *result_name(enum redis_result result)
{
	switch (result) {
	case REDIS_ANSWERED:
		return "answered";
	case REDIS_UNAVAILABLE:
		return "unavailable";
	case REDIS_MOVING:
		return "moving";
	case REDIS_NO_SCRIPT:
		return "no script";
	case REDIS_BAD_KEY:
		return "bad key";
	case REDIS_CONFIGURATION:
		return "configuration";
	}
	abort();
}

static void on_answered(
    void *context, enum redis_result result, const struct redis_reply *reply,
    const char *error)
{
	struct asked *asked = context;
	say(json_pack(
	    "{s:o, s:s, s:o, s:s, s:I}", "id", asked->id, "result", result_name(result),
	    "reply", reply ? reply_json(reply) : json_null(), "error", error, "ms",
	    (json_int_t)(redis_now_ms() - asked->at_ms)));
	free(asked);
}

/* ID, options, arguments from @from on. */
static struct redis_call make_call(const json_t *line, size_t from, struct asked **ret)
{
	static const char *argv[64];
	static size_t argv_len[64];
	const json_t *options = json_array_get(line, from + 1);
	const json_t *key = json_object_get(options, "key");
	struct redis_call call = {
	    .argv = argv,
	    .argv_len = argv_len,
	    .repeatable = json_is_true(json_object_get(options, "repeatable")),
	    .timeout_ms =
		(uint32_t)json_integer_value(json_object_get(options, "timeout")),
	    .key = json_string_value(key),
	    .key_len = json_string_length(key),
	    .answered = on_answered,
	};
	for (size_t i = from + 2; i < json_array_size(line) && call.argc < 64; i++) {
		const json_t *argument = json_array_get(line, i);
		argv[call.argc] = json_string_value(argument);
		argv_len[call.argc++] = json_string_length(argument);
	}
	*ret = calloc(1, sizeof(**ret));
	(*ret)->id = json_incref(json_array_get(line, from));
	(*ret)->at_ms = redis_now_ms();
	call.context = *ret;
	return call;
}

static struct config *load(const char *path)
{
	struct config *config = NULL;
	struct config_errors errors;

	if (config_load(path, CONFIG_LOAD_REDIS, &config, &errors) < 0) {
		for (size_t i = 0; i < errors.lines.count; i++)
			fprintf(stderr, "%s\n", errors.lines.items[i]);
		exit(78);
	}
	config_errors_done(&errors);
	return config;
}

static void on_message(void *context, const char *data, size_t len)
{
	(void)context;
	say(json_pack("{s:s%}", "message", data, len));
}

static void on_lost(void *context)
{
	(void)context;
	say(json_pack("{s:b}", "lost", 1));
}

/* ---- many loops ---- */

struct storm {
	struct event_base *base;
	struct redis_link *link;
	json_int_t to_ask, open, good, bad;
	redis_answered *answered; /* storm_answered() */
	pthread_t thread;
	struct config *config;
};

static void storm_ask(struct storm *storm)
{
	static const char *const argv[] = {"INCR", "storm"};
	const struct redis_call call = {
	    .key = "storm",
	    .key_len = 5,
	    .argc = 2,
	    .argv = argv,
	    .timeout_ms = 10000,
	    .answered = storm->answered,
	    .context = storm,
	};
	while (storm->to_ask > 0 && storm->open < 64) {
		storm->to_ask--;
		storm->open++;
		redis_link_call(storm->link, &call);
	}
	if (storm->open == 0 && storm->to_ask == 0)
		event_base_loopbreak(storm->base);
}

static void storm_answered(
    void *context, enum redis_result result, const struct redis_reply *reply,
    const char *error)
{
	struct storm *storm = context;
	(void)error;
	storm->open--;
	if (result == REDIS_ANSWERED && redis_reply_kind(reply) == REDIS_INTEGER)
		storm->good++;
	else
		storm->bad++;
	storm_ask(storm);
}

static void *storm_run(void *context)
{
	struct storm *storm = context;
	storm->base = event_base_new();
	if (redis_link_new(storm->base, "storm", &storm->link) < 0)
		abort();
	redis_link_set(storm->link, storm->config);
	storm_ask(storm);
	event_base_loop(storm->base, EVLOOP_NO_EXIT_ON_EMPTY);
	redis_link_free(storm->link);
	event_base_free(storm->base);
	return NULL;
}

static void storm(struct probe *probe, json_int_t loops, json_int_t calls)
{
	struct storm storms[16] = {0};
	json_int_t good = 0, bad = 0;
	int64_t start_ms = redis_now_ms();

	for (json_int_t i = 0; i < loops && i < 16; i++) {
		storms[i].to_ask = calls;
		storms[i].config = probe->config;
		storms[i].answered = storm_answered;
		if (pthread_create(&storms[i].thread, NULL, storm_run, &storms[i]) != 0)
			abort();
	}
	for (json_int_t i = 0; i < loops && i < 16; i++) {
		pthread_join(storms[i].thread, NULL);
		good += storms[i].good;
		bad += storms[i].bad;
	}
	say(json_pack(
	    "{s:I, s:I, s:I}", "good", good, "bad", bad, "ms",
	    (json_int_t)(redis_now_ms() - start_ms)));
}

struct churn {
	struct event_base *base;
	json_int_t good;
};

static void churned(
    void *context, enum redis_result result, const struct redis_reply *reply,
    const char *error)
{
	struct churn *churn = context;
	(void)reply;
	if (result == REDIS_ANSWERED)
		churn->good++;
	else
		fprintf(stderr, "churn: %s\n", error);
	event_base_loopbreak(churn->base);
}

static void churn(struct probe *probe, json_int_t rounds)
{
	static const char *const argv[] = {"PING"};
	struct churn churn = {.base = event_base_new()};
	const struct redis_call call = {
	    .argc = 1,
	    .argv = argv,
	    .timeout_ms = 10000,
	    .answered = churned,
	    .context = &churn,
	};
	struct redis_link *link;
	if (redis_link_new(churn.base, "churn", &link) < 0)
		abort();
	for (json_int_t i = 0; i < rounds; i++) {
		redis_link_set(link, NULL);
		redis_link_set(link, probe->config);
		/* Every other one leaves in the midst of it, one turn further each time.
		 */
		for (json_int_t turn = 0; i % 2 && turn < i / 2 % 6; turn++)
			event_base_loop(churn.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
		if (i % 2)
			continue;
		redis_link_call(link, &call);
		event_base_loop(churn.base, EVLOOP_NO_EXIT_ON_EMPTY);
	}
	redis_link_free(link);
	event_base_free(churn.base);
	say(json_pack("{s:I, s:I}", "churned", rounds, "good", churn.good));
}

/* ---- commands ---- */

static void tell_state(struct probe *probe)
{
	struct redis_link_state state;
	redis_link_state(probe->link, &state);
	say(json_pack(
	    "{s:b, s:s, s:s}", "connected", state.connected, "server", state.server,
	    "trouble", state.trouble));
}

static void set(struct probe *probe, const char *path)
{
	config_unref(probe->config);
	probe->config = path ? load(path) : NULL;
	redis_link_set(probe->link, probe->config);
	say(json_pack("{s:b}", "set", 1));
}

static void obey(struct probe *probe, const json_t *line)
{
	const char *word = json_string_value(json_array_get(line, 0));
	const json_t *first = json_array_get(line, 1), *second = json_array_get(line, 2);
	struct asked *asked;

	if (strcmp(word, "call") == 0) {
		struct redis_call call = make_call(line, 1, &asked);
		redis_link_call(probe->link, &call);
	} else if (strcmp(word, "node") == 0) {
		struct redis_call call = make_call(line, 2, &asked);
		if (redis_link_call_node(
			probe->link, (unsigned)json_integer_value(first), &call))
			return;
		say(json_pack("{s:o, s:s}", "id", asked->id, "result", "no such node"));
		free(asked);
	} else if (strcmp(word, "set") == 0) {
		set(probe, json_string_value(first));
	} else if (strcmp(word, "subscribe") == 0) {
		if (redis_link_subscribe(
			probe->link, json_string_value(first), on_message, on_lost,
			probe) < 0)
			abort();
	} else if (strcmp(word, "state") == 0) {
		tell_state(probe);
	} else if (strcmp(word, "slot") == 0) {
		say(json_pack(
		    "{s:i}", "slot",
		    (int)redis_link_slot(
			probe->link, json_string_value(first),
			json_string_length(first))));
	} else if (strcmp(word, "storm") == 0) {
		storm(probe, json_integer_value(first), json_integer_value(second));
	} else if (strcmp(word, "churn") == 0) {
		churn(probe, json_integer_value(first));
	} else {
		fprintf(stderr, "redis_probe: what is %s?\n", word);
		exit(64);
	}
}

static void on_input(evutil_socket_t fd, short what, void *context)
{
	struct probe *probe = context;
	char *line;

	(void)what;
	if (evbuffer_read(probe->input, fd, -1) <= 0) {
		event_base_loopbreak(probe->base);
		return;
	}
	while ((line = evbuffer_readln(probe->input, NULL, EVBUFFER_EOL_LF))) {
		json_t *command = json_loads(line, 0, NULL);
		free(line);
		if (!json_is_array(command))
			exit(64);
		obey(probe, command);
		json_decref(command);
	}
}

int main(int argc, char **argv)
{
	struct probe probe = {.base = event_base_new(), .input = evbuffer_new()};

	if (argc != 2)
		return 64;
	signal(SIGPIPE, SIG_IGN);
	if (redis_link_new(probe.base, "probe", &probe.link) < 0)
		return 71;
	struct event *input =
	    event_new(probe.base, STDIN_FILENO, EV_READ | EV_PERSIST, on_input, &probe);
	event_add(input, NULL);
	probe.config = load(argv[1]);
	redis_link_set(probe.link, probe.config);
	event_base_loop(probe.base, EVLOOP_NO_EXIT_ON_EMPTY);

	redis_link_free(probe.link);
	event_free(input);
	evbuffer_free(probe.input);
	event_base_free(probe.base);
	config_unref(probe.config);
	libevent_global_shutdown();
	return 0;
}
