/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Configurations for tests, written into a private folder that becomes the working
 * directory, so that messages show plain names: "c.json:1:2: ...". Include after
 * cmocka.h.
 */
#include "common/config.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char config_folder[64];

static int config_files_setup(void **state)
{
	(void)state;
	strcpy(config_folder, "/tmp/postern-test-XXXXXX");
	return mkdtemp(config_folder) && chdir(config_folder) == 0 ? 0 : -1;
}

static inline int config_files_remove(
    const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

static int config_files_teardown(void **state)
{
	(void)state;
	return chdir("/") == 0
		   ? nftw(config_folder, config_files_remove, 8, FTW_DEPTH | FTW_PHYS)
		   : -1;
}

static inline void write_bytes(const char *name, const char *bytes, size_t len)
{
	FILE *file = fopen(name, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
}

static inline void write_file(const char *name, const char *text)
{
	write_bytes(name, text, strlen(text));
}

/* All error lines of a load that must fail, each with its newline; the caller frees. */
static inline char *errors_of(const char *name, unsigned flags)
{
	struct config *config = NULL;
	struct config_errors errors;
	char *text = NULL;
	size_t len;
	FILE *to = open_memstream(&text, &len);

	int r = config_load(name, flags, &config, &errors);
	for (size_t i = 0; i < errors.lines.count; i++)
		fprintf(to, "%s\n", errors.lines.items[i]);
	if (errors.more)
		fprintf(to, "%zu more\n", errors.more);
	if (r == 0)
		fputs("loaded without an error\n", to);
	fclose(to);
	config_errors_done(&errors);
	config_unref(config);
	return text;
}

/* A configuration that must load. */
static inline struct config *load_good(const char *text)
{
	struct config *config = NULL;
	struct config_errors errors;

	write_file("c.json", text);
	int r = config_load("c.json", 0, &config, &errors);
	for (size_t i = 0; i < errors.lines.count; i++)
		print_error("%s\n", errors.lines.items[i]);
	config_errors_done(&errors);
	if (r)
		fail_msg("does not load: %s", text);
	return config;
}

/* A configuration that must fail with exactly these lines. */
struct broken {
	const char *why, *text, *lines;
};

static inline void expect_lines(const struct broken *rows, size_t count)
{
	size_t wrong = 0;
	for (size_t i = 0; i < count; i++) {
		write_file("c.json", rows[i].text);
		char *lines = errors_of("c.json", 0);
		if (strcmp(lines, rows[i].lines) != 0) {
			print_error(
			    "%s\n  in   %s\n  got  %s  want %s", rows[i].why,
			    rows[i].text, lines, rows[i].lines);
			wrong++;
		}
		free(lines);
	}
	assert_int_equal(wrong, 0);
}
