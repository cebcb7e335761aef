/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * The command line behind a subcommand's name: its options anywhere, its arguments in
 * order. -c FILE, --json and -h are everybody's.
 */

#define CTL_OPTIONS_MAX   16
#define CTL_ARGUMENTS_MAX 32

/* An option of one subcommand: takes a value, or is a flag. */
struct ctl_option {
	const char *name; /* of one letter: -n; else --name */
	const char **value;
	bool *flag;
};

struct ctl_line {
	const char *usage; /* all of it: "usage: postern check [-c FILE]\n" */
	const struct ctl_option *options;
	size_t options_count;
	const char *arguments[CTL_ARGUMENTS_MAX]; /* what they are called; then NULL */
	size_t required;                          /* of them */

	/* Set by ctl_line_parse(). */
	const char *file;
	bool json;
	const char *argument[CTL_ARGUMENTS_MAX]; /* NULL: not given */
};

/*
 * Returns -1 to go on, else the exit code: 0 after -h, EXIT_USAGE with the reason on
 * standard error. @argv[0] is the subcommand's name.
 */
int ctl_line_parse(struct ctl_line *line, int argc, char **argv);

/* Says on standard error what is wrong with the command's arguments, and its usage.
 * Returns EXIT_USAGE. */
__attribute__((format(printf, 3, 4))) int ctl_wrong_use(
    const char *name, const char *usage, const char *format, ...);
