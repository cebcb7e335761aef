/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Tables for people: columns as wide as their widest cell, numbers to the right, the
 * headings bold on a terminal. Every cell is escaped.
 */

#define TABLE_COLUMNS_MAX 12

/* A heading that begins with ">" stands, without it, over a column of numbers. */
struct table;

/* NULL: no memory. @headings are kept by pointer. */
struct table *table_new(const char *const *headings, size_t columns);
struct table *table_free(struct table *table);

/* The next cell, row by row. */
void table_add(struct table *table, const char *text);
void table_add_count(struct table *table, uint64_t count);

/* The text under @key of a daemon's answer; an empty cell when there is none. */
void table_add_text(struct table *table, const json_t *object, const char *key);

/* To standard output. False: there was no memory for a cell, and nothing is printed. */
bool table_print(const struct table *table);

/* ---- for a cell, or a line ---- */

enum paint { PAINT_PLAIN, PAINT_BOLD, PAINT_GOOD, PAINT_BAD };

/* The escape sequence that begins, or with PAINT_PLAIN ends it; "" unless standard output
 * is a terminal that wants colours. */
const char *paint(enum paint paint);

#define TIME_TEXT_MAX 32

/* Wall clock as local time: "2026-11-21 04:10:17". Returns @buf. */
const char *time_text(int64_t at_s, char buf[static TIME_TEXT_MAX]);

/* A length of time in its two largest units: "2h 5m", "30s". Returns @buf. */
const char *duration_text(uint64_t seconds, char buf[static TIME_TEXT_MAX]);
