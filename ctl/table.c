/* SPDX-License-Identifier: BSD-2-Clause */
#include "ctl/table.h"

#include "common/printable.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Longer text is cut with dots. */
#define CELL_MAX 400

struct table {
	const char *const *headings;
	size_t columns, count; /* cells */
	char **cells;
	size_t room;
	bool incomplete;
	int widths[TABLE_COLUMNS_MAX];
};

/* Characters, taken for one column each. */
static int width_of(const char *text)
{
	int width = 0;

	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

static bool is_number(const struct table *table, size_t column)
{
	return table->headings[column][0] == '>';
}

static const char *heading(const struct table *table, size_t column)
{
	return table->headings[column] + is_number(table, column);
}

struct table *table_new(const char *const *headings, size_t columns)
{
	struct table *table = calloc(1, sizeof(*table));

	assert(columns > 0 && columns <= TABLE_COLUMNS_MAX);
	if (!table)
		return NULL;
	table->headings = headings;
	table->columns = columns;
	for (size_t i = 0; i < columns; i++)
		table->widths[i] = width_of(heading(table, i));
	return table;
}

struct table *table_free(struct table *table)
{
	if (!table)
		return NULL;
	for (size_t i = 0; i < table->count; i++)
		free(table->cells[i]);
	free(table->cells);
	free(table);
	return NULL;
}

void table_add(struct table *table, const char *text)
{
	char shown[CELL_MAX + 1];

	printable(shown, sizeof(shown), text, strlen(text));
	if (table->count == table->room) {
		size_t room = table->room ? table->room * 2 : 64;
		char **cells = reallocarray(table->cells, room, sizeof(*cells));
		if (!cells) {
			table->incomplete = true;
			return;
		}
		table->cells = cells;
		table->room = room;
	}
	char *cell = strdup(shown);
	if (!cell) {
		table->incomplete = true;
		return;
	}
	int *width = &table->widths[table->count % table->columns];
	if (width_of(shown) > *width)
		*width = width_of(shown);
	table->cells[table->count++] = cell;
}

void table_add_count(struct table *table, uint64_t count)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, count);
	table_add(table, text);
}

void table_add_text(struct table *table, const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	table_add(table, text ? text : "");
}

static void print_cell(const struct table *table, size_t column, const char *text)
{
	bool last = column + 1 == table->columns;
	int pad = table->widths[column] - width_of(text);

	if (is_number(table, column))
		printf("%*s%s", pad, "", text);
	else
		printf("%s%*s", text, last ? 0 : pad, "");
	fputs(last ? "\n" : "  ", stdout);
}

bool table_print(const struct table *table)
{
	if (table->incomplete)
		return false;
	fputs(paint(PAINT_BOLD), stdout);
	for (size_t i = 0; i < table->columns; i++)
		print_cell(table, i, heading(table, i));
	fputs(paint(PAINT_PLAIN), stdout);
	for (size_t i = 0; i < table->count; i++)
		print_cell(table, i % table->columns, table->cells[i]);
	return true;
}

static bool wants_colours(void)
{
	const char *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && term && strcmp(term, "dumb") != 0 &&
	       !getenv("NO_COLOR");
}

const char *paint(enum paint paint)
{
	static const char *const sequences[] = {
	    [PAINT_PLAIN] = "\033[0m",
	    [PAINT_BOLD] = "\033[1m",
	    [PAINT_GOOD] = "\033[32m",
	    [PAINT_BAD] = "\033[31m",
	};
	return wants_colours() ? sequences[paint] : "";
}

const char *time_text(int64_t at_s, char buf[static TIME_TEXT_MAX])
{
	time_t at = (time_t)at_s;
	struct tm tm;

	if (!localtime_r(&at, &tm) ||
	    strftime(buf, TIME_TEXT_MAX, "%Y-%m-%d %H:%M:%S", &tm) == 0)
		snprintf(buf, TIME_TEXT_MAX, "%" PRId64, at_s);
	return buf;
}

const char *duration_text(uint64_t seconds, char buf[static TIME_TEXT_MAX])
{
	static const struct {
		uint64_t seconds;
		char unit;
	} units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
	size_t i = 0;

	while (i < 3 && seconds < units[i].seconds)
		i++;
	uint64_t rest = seconds % units[i].seconds;
	int len = snprintf(
	    buf, TIME_TEXT_MAX, "%" PRIu64 "%c", seconds / units[i].seconds,
	    units[i].unit);
	if (i < 3 && rest >= units[i + 1].seconds)
		snprintf(
		    buf + len, TIME_TEXT_MAX - (size_t)len, " %" PRIu64 "%c",
		    rest / units[i + 1].seconds, units[i + 1].unit);
	return buf;
}
