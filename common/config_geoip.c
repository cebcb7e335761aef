/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/config_build.h"

#include "common/geoip.h"

#include <limits.h>
#include <time.h>

/*
 * `geoip`: the database that answers where a client is, and what is said of lists of
 * countries that have none.
 */

/* Address blocks are sold: of addresses that changed country a database of last spring
 * knows nothing. MaxMind's licence asks for 30 days at most. */
#define OLD_DAYS 90

static bool was_set(
    const struct config_build *build, const char *path, struct config_value *ret)
{
	return config_again(&build->origins[config_option_find(path)], NULL, path, ret);
}

static void warn_without_database(struct config_build *build, const char *path)
{
	struct config_value value;

	if (was_set(build, path, &value))
		config_notice(
		    build, &value,
		    "geoip.country names no database: no country is known, so "
		    "authenticated sessions from public addresses get 451, everybody "
		    "else passes without a grant");
}

static void warn_of_age(struct config_build *build, const struct config_value *value)
{
	const struct config *config = build->config;
	int64_t days = ((int64_t)time(NULL) - geoip_built_s(config->geoip)) / 86400;

	if (days > OLD_DAYS)
		config_notice(
		    build, value,
		    "country database %s is %lld days old: networks have moved "
		    "since; update it, at best by geoipupdate from cron",
		    config->geoip_country, (long long)days);
}

static void warn_of_limits(struct config_build *build)
{
	const struct config *config = build->config;
	struct config_value value;

	for (size_t i = 0; i < config->limits_count; i++)
		if (config->limits[i].count == COUNT_COUNTRIES &&
		    config->limits[i].name && was_set(build, "limits", &value))
			config_notice(
			    build, &value,
			    "%s counts countries without a database: what it would "
			    "count is refused for now; set geoip.country",
			    config->limits[i].name);
}

void config_geoip_finish(struct config_build *build)
{
	struct config *config = build->config;
	struct config_value value;
	char errbuf[PATH_MAX + 300];

	if (!config->geoip_country || config->geoip_country[0] == '\0') {
		if (config->auth.countries.count > 0)
			warn_without_database(build, "auth.countries");
		if (config->block.countries.count > 0)
			warn_without_database(build, "block.countries");
		warn_of_limits(build);
		return;
	}
	if (!(build->flags & CONFIG_LOAD_GEOIP) ||
	    !was_set(build, "geoip.country", &value))
		return;
	if (geoip_load(config->geoip_country, &config->geoip, errbuf, sizeof(errbuf)) < 0)
		config_error(build, &value, "%s", errbuf);
	else
		warn_of_age(build, &value);
}
