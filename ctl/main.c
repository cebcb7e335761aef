/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `postern`: finds the subcommand in a table and runs it. Knows nothing of what they do.
 */
#include "common/near_key.h"
#include "common/printable.h"
#include "common/service.h"
#include "ctl/ctl.h"

#include <stdio.h>
#include <string.h>

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} commands[] = {
    {"status", cmd_status, "how both daemons are"},
    {"usage", cmd_usage, "counters against limits: of a subject, or the fullest"},
    {"reset", cmd_reset, "set a subject's counters back"},
    {"block", cmd_block, "block a client, user, sender or recipient, for a while"},
    {"unblock", cmd_unblock, "lift such a block"},
    {"blocks", cmd_blocks, "list them"},
    {"login", cmd_login, "record a POP or IMAP login"},
    {"check", cmd_check, "validate the configuration and every file it names"},
    {"config", cmd_config, "show the options in force and where each comes from"},
    {"dkim", cmd_dkim, "make keys, print their records, look DNS up for them"},
    {"explain", cmd_explain, "show each check's verdict on one request"},
    {"import", cmd_import, "convert the configuration of another program"},
    {"replay", cmd_replay, "judge a decision log by another configuration"},
    {"trace", cmd_trace, "open the token of a masked Received header"},
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void print_help(FILE *to)
{
	fputs("usage: postern COMMAND [OPTION...]\n\n", to);
	for (size_t i = 0; i < COMMANDS; i++)
		fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].help);
	fputs(
	    "\n  -V         print the version\n"
	    "  -h         print this\n\n"
	    "Every command takes -c FILE (default " CONFIG_DEFAULT_PATH ") and --json.\n",
	    to);
}

static int unknown(const char *name)
{
	struct near_key near;
	char shown[80];

	near_key_init(&near, name, strlen(name));
	for (size_t i = 0; i < COMMANDS; i++)
		near_key_try(&near, commands[i].name);
	printable(shown, sizeof(shown), name, strlen(name));
	fprintf(stderr, "postern: \"%s\" is no command", shown);
	if (near.best)
		fprintf(stderr, ", did you mean \"%s\"?\n", near.best);
	else
		fputs("; see postern -h\n", stderr);
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		print_help(stderr);
		return EXIT_USAGE;
	}
	const char *name = argv[1];
	if (strcmp(name, "-V") == 0 || strcmp(name, "--version") == 0) {
		puts("postern " POSTERN_VERSION);
		return 0;
	}
	if (strcmp(name, "-h") == 0 || strcmp(name, "--help") == 0 ||
	    strcmp(name, "help") == 0) {
		print_help(stdout);
		return 0;
	}
	for (size_t i = 0; i < COMMANDS; i++)
		if (strcmp(commands[i].name, name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	return unknown(name);
}
