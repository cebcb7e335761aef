/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/control.h"
#include "policyd/control.h"
#include "policyd/roster.h"

#include <stdint.h>

/*
 * What the commands of the control sockets (control_*.c) get, and which there are. All of
 * it on the control thread: nothing here may block, what takes time goes through @base.
 */

struct event_base;

/* Requests in the last minute, from samples of their number. */
#define RATE_SAMPLES   13
#define RATE_SECONDS_A 5 /* from one to the next */

struct control_rate {
	struct {
		uint64_t requests, at_ns;
	} samples[RATE_SAMPLES];
	size_t count, next;
};

struct control_context {
	struct control_parts parts;
	struct event_base *base;
	struct config *config; /* in force during the call; config_ref() keeps it */
	struct roster *roster; /* which tells the other nodes */
	struct store *store;   /* this thread's way to the counters: store_redis_new() */
	int64_t since_s;       /* wall clock at the start */
	struct control_rate rate;
};

/* As a control_handler: owes one reply, now or later. */
typedef void control_command(
    struct control_context *context, struct control_request *request,
    const json_t *message);

control_command control_block;
control_command control_blocks;
control_command control_explain;
control_command control_login;
control_command control_reset;
control_command control_status;
control_command control_unblock;
control_command control_usage;

/* Takes a sample, each RATE_SECONDS_A. */
void control_rate_sample(struct control_rate *rate);
