/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/config_build.h"

#include "common/token.h"

#include <errno.h>

/*
 * milter.mask.token_keys: the files become absolute, and with CONFIG_LOAD_TOKENS they are
 * read and checked.
 */
void config_tokens_finish(struct config_build *build)
{
	struct config *config = build->config;
	struct string_list *files = &config->milter.mask.token_keys;
	struct config_value list;
	char errbuf[512];
	size_t i = 0;
	uid_t uid = 0;

	if (files->count == 0 ||
	    !config_again(
		&build->origins[config_option_find("milter.mask.token_keys")], NULL,
		"milter.mask.token_keys", &list) ||
	    !json_is_array(list.json))
		return;
	bool load = (build->flags & CONFIG_LOAD_TOKENS) &&
		    config_service_uid(build, "milter.user", config->milter.user, &uid);
	for (struct config_each each = config_each(&list);
	     config_next(&each) && i < files->count; i++) {
		char *path =
		    config_absolute_path(build, each.value.file, files->items[i]);
		if (!path)
			return;
		free(files->items[i]);
		files->items[i] = path;
		if (!load)
			continue;
		int r = token_keys_add(
		    &config->milter.mask.tokens, path, uid, errbuf, sizeof(errbuf));
		if (r == -ENOMEM)
			build->no_memory = true;
		else if (r < 0)
			config_error(build, &each.value, "%s", errbuf);
	}
}
