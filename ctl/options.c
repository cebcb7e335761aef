/* SPDX-License-Identifier: BSD-2-Clause */
#include "ctl/options.h"

#include "common/config.h"
#include "common/printable.h"
#include "common/service.h"

#include <assert.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* getopt_long()'s return value of option 0; letters are below. */
#define FIRST_ID 256

int ctl_wrong_use(const char *name, const char *usage, const char *format, ...)
{
	char text[512], shown[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	printable(shown, sizeof(shown), text, strlen(text));
	fprintf(stderr, "postern %s: %s\n%s", name, shown, usage);
	return EXIT_USAGE;
}

/* Those of the line beside those of all, in getopt's two forms. */
struct forms {
	char letters[2 * CTL_OPTIONS_MAX + 8];
	struct option names[CTL_OPTIONS_MAX + 3];
};

static void make_forms(const struct ctl_line *line, struct forms *ret)
{
	size_t letters = 0, names = 0;

	assert(line->options_count <= CTL_OPTIONS_MAX);
	for (size_t i = 0; i < line->options_count; i++) {
		const struct ctl_option *option = &line->options[i];
		if (option->name[1] == '\0') {
			ret->letters[letters++] = option->name[0];
			if (option->value)
				ret->letters[letters++] = ':';
			continue;
		}
		ret->names[names++] = (struct option){
		    .name = option->name,
		    .has_arg = option->value ? required_argument : no_argument,
		    .val = FIRST_ID + (int)i,
		};
	}
	memcpy(ret->letters + letters, "c:h", 4);
	ret->names[names++] = (struct option){.name = "json", .val = 'j'};
	ret->names[names++] = (struct option){.name = "help", .val = 'h'};
	ret->names[names] = (struct option){0};
}

/* False: no option of the line's. */
static bool take_own(const struct ctl_line *line, int id)
{
	for (size_t i = 0; i < line->options_count; i++) {
		const struct ctl_option *option = &line->options[i];
		int its = option->name[1] == '\0' ? option->name[0] : FIRST_ID + (int)i;
		if (id != its)
			continue;
		if (option->value)
			*option->value = optarg;
		else
			*option->flag = true;
		return true;
	}
	return false;
}

static int take_arguments(struct ctl_line *line, int argc, char **argv)
{
	size_t n = 0;

	for (; optind < argc; optind++) {
		if (n == CTL_ARGUMENTS_MAX || !line->arguments[n])
			return ctl_wrong_use(
			    argv[0], line->usage, "\"%s\" is an argument too many",
			    argv[optind]);
		line->argument[n++] = argv[optind];
	}
	if (n < line->required)
		return ctl_wrong_use(
		    argv[0], line->usage, "%s is missing", line->arguments[n]);
	return -1;
}

int ctl_line_parse(struct ctl_line *line, int argc, char **argv)
{
	struct forms forms = {0};
	int id;

	make_forms(line, &forms);
	line->file = CONFIG_DEFAULT_PATH;
	optind = 1;
	while ((id = getopt_long(argc, argv, forms.letters, forms.names, NULL)) != -1) {
		if (take_own(line, id))
			continue;
		switch (id) {
		case 'c':
			line->file = optarg;
			break;
		case 'j':
			line->json = true;
			break;
		case 'h':
			fputs(line->usage, stdout);
			return 0;
		default: /* getopt has said what is wrong */
			fputs(line->usage, stderr);
			return EXIT_USAGE;
		}
	}
	return take_arguments(line, argc, argv);
}
