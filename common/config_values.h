/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Single values of the configuration: text to number, time, size, mode, and whether a
 * text is a host name, header name, country. Pure; the walker makes the messages.
 */

/* "90s" "10m" "1h" "1d", and "100ms" when @with_ms. False: none of these, or too big. */
bool time_parse(const char *text, bool with_ms, uint64_t *ret_ms);

/* The same time in the largest unit that is exact. */
const char *time_print(uint64_t ms, char buf[static 32]);

/* "1000", "64K", "25M", "1G" in bytes, powers of 1024. */
bool size_parse(const char *text, uint64_t *ret_bytes);

/* "0660": three or four octal digits. */
bool mode_parse(const char *text, mode_t *ret);

/* Printable, and no white space at either end. */
bool text_is_clean(const char *text, size_t len);

/* Each returns NULL for good text, or what was expected instead. */
const char *check_hostname(const char *text);
const char *check_delimiter(const char *text);
const char *check_reason(const char *text);
const char *check_country_code(const char *text);
const char *check_limit_name(const char *text);
const char *check_domain_entry(const char *text); /* of an address list: domains alone */
const char *check_redis_name(const char *text);   /* one word: ACL user, master */
const char *check_redis_prefix(const char *text);
const char *check_dns_server(const char *text); /* ADDRESS or ADDRESS:PORT */
const char *check_local(const char *text);      /* unix:PATH */
const char *check_account(const char *text);    /* a user or group name */
const char *check_file_name(const char *text);
const char *check_selector(const char *text);
const char *check_signed_header(const char *text);
const char *check_removed_header(const char *text);
