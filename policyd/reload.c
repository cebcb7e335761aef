/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/reload.h"

#include "common/cleanup.h"
#include "common/log.h"
#include "common/names_config.h"
#include "common/service.h"
#include "common/status.h"
#include "common/thread.h"

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* Requests go first; but on a saturated machine a reload still gets a quarter of a core,
 * so that a block by reload is in force within seconds. */
#define LOADER_NICE 5

/* An outdated reference on its way to the loader. */
struct retired {
	struct retired *next;
	struct config *config;
};

struct reload {
	char *path;
	struct config_slot *slot;
	struct names *names;
	reload_published *published;
	void *context;
	pthread_t thread;
	bool running;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool wanted, stopping;
	struct retired *retired;
	struct reload_report report;
};

static int64_t clock_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static size_t users_count(const struct config *config)
{
	return user_list_count(config->block.users) +
	       user_list_count(config->trusted.users) +
	       user_list_count(config->relay.users);
}

static size_t addresses_count(const struct config *config)
{
	return address_list_count(config->block.senders) +
	       address_list_count(config->block.recipients) +
	       address_list_count(config->relay.anyone_from) +
	       address_list_count(config->relay.anyone_to);
}

static size_t hosts_count(const struct config *config)
{
	return host_list_count(config->block.hosts) +
	       host_list_count(config->trusted.hosts) +
	       host_list_count(config->relay.hosts) +
	       host_list_count(config->auth.tls_exempt) +
	       host_list_count(config->auth.submission_hosts);
}

static void report(struct reload *reload, bool taken, const char *why)
{
	status_count_load(taken);
	pthread_mutex_lock(&reload->lock);
	reload->report.at_s = time(NULL);
	reload->report.taken = taken;
	snprintf(reload->report.why, sizeof(reload->report.why), "%s", why);
	pthread_mutex_unlock(&reload->lock);
}

static void refuse(struct reload *reload, const char *why)
{
	log_error(
	    "reload of %s failed, the old configuration stays in force: %s", reload->path,
	    why);
}

/* Publishes @next unless it needs a restart; takes it in both cases. True: published. */
static bool publish(struct reload *reload, struct config *next, int64_t began_us)
{
	struct config *old = config_slot_get(reload->slot);
	const char *key = config_needs_restart(old, next, "policyd");
	config_unref(old);
	if (key) {
		char why[128];
		snprintf(why, sizeof(why), "%s changed, which needs a restart", key);
		report(reload, false, why);
		refuse(reload, why);
		config_unref(next);
		return false;
	}
	if (names_take_config(reload->names, next, NAMES_ALL) < 0) {
		report(reload, false, "out of memory");
		refuse(reload, "out of memory");
		config_unref(next);
		return false;
	}
	for (size_t i = 0; i < next->notices.count; i++)
		log_info("%s", next->notices.items[i]);
	log_set_level(next->log.level);
	/* Ours until the next line is written; the slot takes the other reference. */
	config_slot_set(reload->slot, config_ref(next));
	reload->published(reload->context, next);
	report(reload, true, "");
	log_info(
	    "reloaded %s in %" PRId64 " ms: %zu domains, %zu limits, lists of %zu hosts, "
	    "%zu users, %zu addresses",
	    reload->path, (clock_us() - began_us) / 1000, config_domain_count(next),
	    next->limits_count, hosts_count(next), users_count(next),
	    addresses_count(next));
	config_unref(next);
	return true;
}

static void load(struct reload *reload)
{
	int64_t began_us = clock_us();
	char state[64];
	/* systemd ends `systemctl reload` at a READY that is younger than this. */
	snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%" PRId64, began_us);
	service_notify(state);

	struct config *next = NULL;
	struct config_errors errors = {0};
	bool done = false;
	int r = config_load(
	    reload->path, CONFIG_LOAD_GEOIP | CONFIG_LOAD_REDIS, &next, &errors);
	if (r == 0) {
		done = publish(reload, next, began_us);
	} else if (r == -EINVAL) {
		for (size_t i = 0; i < errors.lines.count; i++)
			log_error("%s", errors.lines.items[i]);
		char why[64];
		snprintf(
		    why, sizeof(why), "%zu errors", errors.lines.count + errors.more);
		report(
		    reload, false, errors.lines.count > 0 ? errors.lines.items[0] : why);
		refuse(reload, why);
	} else {
		report(reload, false, strerror(-r));
		refuse(reload, strerror(-r));
	}
	config_errors_done(&errors);
	service_notify(
	    done ? "READY=1\nSTATUS=serving"
		 : "READY=1\nSTATUS=reload failed, the old configuration is in force");
}

static void free_retired(struct retired *retired)
{
	bool any = retired != NULL;
	while (retired) {
		struct retired *next = retired->next;
		config_unref(retired->config);
		free(retired);
		retired = next;
	}
	/* The lists of the old configuration are worth giving back. */
	if (any)
		malloc_trim(0);
}

static void *loader(void *context)
{
	struct reload *reload = context;
	/* Linux nices a thread of its own: a long load gives way to the serving ones. */
	if (setpriority(PRIO_PROCESS, (id_t)gettid(), LOADER_NICE) < 0)
		log_debug(
		    "the loader keeps the serving threads' priority: %s",
		    strerror(errno));
	pthread_mutex_lock(&reload->lock);
	for (;;) {
		while (!reload->wanted && !reload->retired && !reload->stopping)
			pthread_cond_wait(&reload->changed, &reload->lock);
		bool stopping = reload->stopping, wanted = reload->wanted && !stopping;
		reload->wanted = false;
		struct retired *retired = TAKE(reload->retired);
		pthread_mutex_unlock(&reload->lock);
		free_retired(retired);
		if (wanted)
			load(reload);
		pthread_mutex_lock(&reload->lock);
		if (stopping)
			break;
	}
	pthread_mutex_unlock(&reload->lock);
	return NULL;
}

struct reload *reload_free(struct reload *reload)
{
	if (!reload)
		return NULL;
	reload_stop(reload);
	free_retired(reload->retired);
	config_slot_free(reload->slot);
	pthread_cond_destroy(&reload->changed);
	pthread_mutex_destroy(&reload->lock);
	free(reload->path);
	free(reload);
	return NULL;
}

int reload_new(
    const char *path, struct config *first, struct names *names, struct reload **ret)
{
	struct reload *reload = calloc(1, sizeof(*reload));
	if (!reload)
		return -ENOMEM;
	pthread_mutex_init(&reload->lock, NULL);
	pthread_cond_init(&reload->changed, NULL);
	reload->names = names;
	reload->path = strdup(path);
	if (!reload->path || config_slot_new(first, &reload->slot) < 0) {
		reload_free(reload);
		return -ENOMEM;
	}
	report(reload, true, "");
	*ret = reload;
	return 0;
}

int reload_start(struct reload *reload, reload_published *published, void *context)
{
	reload->published = published;
	reload->context = context;
	int r = thread_start(&reload->thread, "loader", loader, reload);
	reload->running = r == 0;
	return r;
}

void reload_request(struct reload *reload)
{
	pthread_mutex_lock(&reload->lock);
	reload->wanted = true;
	pthread_cond_signal(&reload->changed);
	pthread_mutex_unlock(&reload->lock);
}

void reload_last(struct reload *reload, struct reload_report *ret)
{
	pthread_mutex_lock(&reload->lock);
	*ret = reload->report;
	pthread_mutex_unlock(&reload->lock);
}

void reload_stop(struct reload *reload)
{
	if (!reload->running)
		return;
	pthread_mutex_lock(&reload->lock);
	reload->stopping = true;
	pthread_cond_signal(&reload->changed);
	pthread_mutex_unlock(&reload->lock);
	pthread_join(reload->thread, NULL);
	reload->running = false;
}

static void retire(struct reload *reload, struct config *config)
{
	struct retired *retired = malloc(sizeof(*retired));
	if (!retired) {
		config_unref(config); /* slow here and now, but not lost */
		return;
	}
	retired->config = config;
	pthread_mutex_lock(&reload->lock);
	retired->next = reload->retired;
	reload->retired = retired;
	pthread_cond_signal(&reload->changed);
	pthread_mutex_unlock(&reload->lock);
}

struct config *reload_view(struct reload *reload, struct config_view *view)
{
	/* Read before the snapshot: a publication in between is noticed the next time. */
	unsigned long generation = config_slot_generation(reload->slot);
	if (view->config && view->generation == generation)
		return view->config;
	if (view->config)
		retire(reload, view->config);
	view->config = config_slot_get(reload->slot);
	view->generation = generation;
	return view->config;
}

void reload_view_done(struct reload *reload, struct config_view *view)
{
	if (view->config)
		retire(reload, TAKE(view->config));
}
