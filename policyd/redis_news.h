/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "policyd/redis_conn.h"

/*
 * What the log says of Redis: one line when trouble begins, one for each other trouble
 * that comes on top, one when it is over. The daemon has many links (two a loop) and one
 * Redis: they share what was said, and the trouble is over when it is for all of them.
 *
 * Any thread.
 */

struct config;

/* One link's share. Zero at first. */
struct redis_reporter {
	bool troubled;
};

/* @server: whom it is about. @config: what its on_failure means for the mail; NULL: only
 * messages are missed. */
void redis_news_trouble(
    struct redis_reporter *reporter, const char *server, const struct redis_fault *fault,
    const struct config *config);
void redis_news_good(struct redis_reporter *reporter, const char *server);
/* The link goes, or its configuration: nothing is said. */
void redis_news_forget(struct redis_reporter *reporter);

/* The log had trouble to tell of at @at_ms (of redis_now_ms()), later, or just before. */
bool redis_news_knew(int64_t at_ms);

/* Sentinel named another master, or no sentinel answers: said once by all links. */
void redis_news_said(enum log_level level, const char *line);
