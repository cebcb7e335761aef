/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/names.h"

#include "common/cleanup.h"
#include "common/host_dns.h"
#include "common/name_file.h"
#include "common/thread.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <search.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* An answer that is as before: how old the file may say it is. */
#define KEEP_MS (10 * 60 * 1000)

/* Names resolved at the same time: what a resolver takes without dropping. */
#define RUNNING_MAX 256
/* One name, all its rounds of questions: this many times dns.timeout. */
#define TIMEOUTS_PER_NAME 10

const struct name_times names_times = {
    .floor_ms = 60 * 1000,
    .ceiling_ms = 60 * 60 * 1000,
    .retry_ms = 5 * 1000,
    .age_ms = 24 * 60 * 60 * 1000,
};

/* One list and the names of its entries, by their index. */
struct bound_list {
	struct host_dns *dns;
	struct name **names;
};

/* One work, bound to its names. */
struct binding {
	struct names_work work;
	struct bound_list *lists;
	struct name **names; /* each once */
	size_t names_count;
	size_t running;
	void *index; /* tsearch(3): the names by their text */
};

struct names {
	struct name_times times;
	names_say *say;
	int wake_fd;
	pthread_t thread;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	const struct names_work *offered; /* until the thread has taken it */
	int offer_result;
	bool tried, stopping;

	/* Set before the first work. */
	char *keep_path; /* NULL: nothing is kept */
	bool keep_save;

	/* The thread's own. */
	bool unsaved, save_failed;
	int64_t saved_ms;
	struct binding *binding;
	struct dns *dns;
};

static int64_t clock_ms(void)
{
	struct timespec now;

	/* A machine that slept has old answers. */
	clock_gettime(CLOCK_BOOTTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(((const struct name *)a)->text, ((const struct name *)b)->text);
}

static struct name *find_name(const struct binding *binding, const char *text)
{
	union {
		const char *text;
		char *key;
	} as = {.text = text};
	struct name key = {.text = as.key};
	void *node = binding ? tfind(&key, &binding->index, compare_names) : NULL;

	return node ? *(struct name **)node : NULL;
}

/* ---- binding lists to names ---- */

static void leave_node(void *node)
{
	(void)node;
}

/* Frees all but the names that @heir has too. */
static struct binding *binding_free(struct binding *binding, const struct binding *heir)
{
	if (!binding)
		return NULL;
	for (size_t i = 0; i < binding->names_count; i++)
		if (find_name(heir, binding->names[i]->text) != binding->names[i])
			name_free(binding->names[i]);
	tdestroy(binding->index, leave_node);
	for (size_t i = 0; binding->lists && i < binding->work.lists_count; i++)
		free(binding->lists[i].names);
	free(binding->lists);
	free(binding->names);
	if (binding->work.release)
		binding->work.release(binding->work.owner);
	free(binding);
	return NULL;
}

/* The name of @entry: known in @binding, inherited from @old, or new. */
static struct name *bind_entry(
    struct binding *binding, const struct binding *old,
    const struct host_dns_entry *entry)
{
	struct name *name = find_name(binding, entry->text);

	if (name)
		return name;
	struct name *made = NULL;
	name = find_name(old, entry->text);
	if (!name && name_new(entry->text, entry->domain, entry->kind, &made) == 0)
		name = made;
	if (!name || !tsearch(name, &binding->index, compare_names)) {
		name_free(made);
		return NULL;
	}
	binding->names[binding->names_count++] = name;
	return name;
}

static int bind_list(struct binding *binding, const struct binding *old, size_t index)
{
	struct host_dns *dns = binding->work.lists[index].dns;
	struct bound_list *list = &binding->lists[index];
	size_t count = host_dns_count(dns);

	list->dns = dns;
	list->names = calloc(count + 1, sizeof(struct name *));
	if (!list->names)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		list->names[i] = bind_entry(binding, old, host_dns_entry(dns, i));
		if (!list->names[i])
			return -ENOMEM;
	}
	return 0;
}

/* From here on messages name the entries of this work, not of the one before. */
static void label_names(struct binding *binding)
{
	for (size_t i = binding->work.lists_count; i-- > 0;) {
		struct bound_list *list = &binding->lists[i];
		for (size_t entry = host_dns_count(list->dns); entry-- > 0;) {
			list->names[entry]->label = binding->work.lists[i].label;
			list->names[entry]->where =
			    host_dns_entry(list->dns, entry)->where;
		}
	}
}

/* Owns @work from here on, whatever comes of it. */
static int binding_new(
    const struct names_work *work, const struct binding *old, struct binding **ret)
{
	struct binding *binding = calloc(1, sizeof(*binding));
	size_t entries = 0;
	int r = 0;

	if (!binding) {
		work->release(work->owner);
		return -ENOMEM;
	}
	binding->work = *work;
	for (size_t i = 0; i < work->lists_count; i++)
		entries += host_dns_count(work->lists[i].dns);
	binding->lists = calloc(work->lists_count + 1, sizeof(*binding->lists));
	binding->names = calloc(entries + 1, sizeof(struct name *));
	if (!binding->lists || !binding->names)
		r = -ENOMEM;
	for (size_t i = 0; r == 0 && i < work->lists_count; i++)
		r = bind_list(binding, old, i);
	if (r < 0) {
		binding_free(binding, old);
		return r;
	}
	label_names(binding);
	*ret = binding;
	return 0;
}

/* ---- publishing ---- */

static bool list_changed(const struct bound_list *list)
{
	for (size_t i = 0; i < host_dns_count(list->dns); i++)
		if (list->names[i]->changed)
			return true;
	return false;
}

static int publish_list(const struct bound_list *list)
{
	size_t count = host_dns_count(list->dns);
	struct host_dns_networks *networks = calloc(count + 1, sizeof(*networks));

	if (!networks)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct name *name = list->names[i];
		if (!name->resolved)
			continue;
		networks[i].v4 = &name->networks.v4;
		networks[i].v6 = &name->networks.v6;
	}
	int r = host_dns_publish(list->dns, networks);
	free(networks);
	return r;
}

/* Publishes the lists of changed names, or all. Without memory a change stays marked, and
 * is published with the next answer. */
static void publish(struct binding *binding, bool all)
{
	int r = 0;

	for (size_t i = 0; i < binding->work.lists_count; i++)
		if (all || list_changed(&binding->lists[i]))
			r |= publish_list(&binding->lists[i]);
	for (size_t i = 0; r == 0 && i < binding->names_count; i++)
		binding->names[i]->changed = false;
}

/* ---- keeping ---- */

__attribute__((format(printf, 3, 4))) static void tell(
    const struct names *names, enum log_level level, const char *format, ...)
{
	char line[STATE_FILE_ERROR_MAX + 200];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	names->say(level, line);
}

static void load(struct names *names, const struct binding *binding)
{
	char errbuf[STATE_FILE_ERROR_MAX];

	if (names->keep_path &&
	    name_file_load(
		names->keep_path, binding->names, binding->names_count, &names->times,
		clock_ms(), (int64_t)time(NULL), errbuf) < 0)
		tell(
		    names, LOG_LEVEL_ERROR,
		    "%s; what names stand for is learnt from DNS anew", errbuf);
}

static void save(struct names *names, int64_t now_ms)
{
	char errbuf[STATE_FILE_ERROR_MAX];
	const struct binding *binding = names->binding;

	names->saved_ms = now_ms;
	names->unsaved = false;
	if (name_file_save(
		names->keep_path, binding->names, binding->names_count, now_ms,
		(int64_t)time(NULL), errbuf) == 0) {
		names->save_failed = false;
		return;
	}
	/* Told once; tried again as often as it would be written. */
	if (!names->save_failed)
		tell(
		    names, LOG_LEVEL_ERROR,
		    "%s; a restart while DNS is away does not know the hosts behind "
		    "names: let the daemon's user write there",
		    errbuf);
	names->save_failed = true;
}

static void note_changes(struct names *names)
{
	for (size_t i = 0; i < names->binding->names_count; i++)
		names->unsaved |= names->binding->names[i]->changed;
}

static void keep(struct names *names, bool at_end)
{
	int64_t now_ms = clock_ms();

	if (!names->keep_path || !names->keep_save || !names->binding ||
	    names->binding->names_count == 0)
		return;
	if (now_ms - names->saved_ms >= KEEP_MS ||
	    (names->unsaved && names->binding->running == 0) || at_end)
		save(names, now_ms);
}

/* ---- the thread ---- */

/* Its questions are answered as failed by dns_free(), which tells nothing about names. */
static void abort_running(struct names *names)
{
	names->dns = dns_free(names->dns);
	if (!names->binding)
		return;
	for (size_t i = 0; i < names->binding->names_count; i++)
		name_reset(names->binding->names[i]);
	names->binding->running = 0;
}

static void take_offer(struct names *names, const struct names_work *offer)
{
	struct binding *next;

	abort_running(names);
	int r = binding_new(offer, names->binding, &next);
	if (r == 0) {
		struct binding *old = names->binding;
		if (!old)
			load(names, next);
		names->binding = next;
		publish(next, true);
		binding_free(old, next);
	}
	pthread_mutex_lock(&names->lock);
	names->offered = NULL;
	names->offer_result = r;
	names->tried = r < 0;
	pthread_cond_broadcast(&names->changed);
	pthread_mutex_unlock(&names->lock);
}

static void start_name(struct names *names, struct name *name, int64_t now_ms)
{
	const struct dns_settings *settings = &names->binding->work.dns;

	/* Made anew after each pause: resolv.conf may have changed. */
	if (!names->dns && dns_new(settings, &names->dns) < 0)
		names->dns = NULL;
	name->deadline_ms = now_ms + (int64_t)settings->timeout_ms * TIMEOUTS_PER_NAME;
	name->running = name->dirty = true;
	names->binding->running++;
}

/* Starts what is due, goes on with what has answers. Returns when the next is due. */
static int64_t advance(struct names *names, int64_t now_ms)
{
	struct binding *binding = names->binding;
	int64_t next_ms = INT64_MAX;

	for (size_t i = 0; i < binding->names_count; i++) {
		struct name *name = binding->names[i];
		if (!name->running && name->due_ms <= now_ms &&
		    binding->running < RUNNING_MAX)
			start_name(names, name, now_ms);
		if (name->running && name->dirty &&
		    name_advance(name, names->dns, now_ms, &names->times, names->say))
			binding->running--;
		if (!name->running && name->due_ms < next_ms)
			next_ms = name->due_ms;
	}
	if (!binding->running)
		names->dns = dns_free(names->dns);
	return next_ms;
}

static void tell_tried(struct names *names)
{
	for (size_t i = 0; i < names->binding->names_count; i++)
		if (!names->binding->names[i]->tried)
			return;
	pthread_mutex_lock(&names->lock);
	names->tried = true;
	pthread_cond_broadcast(&names->changed);
	pthread_mutex_unlock(&names->lock);
}

/* Waits for answers, an offer, the end, or @until_ms. */
static void wait_for_work(struct names *names, int64_t until_ms)
{
	int64_t left_ms = until_ms == INT64_MAX ? -1 : until_ms - clock_ms();
	struct pollfd wake = {.fd = names->wake_fd, .events = POLLIN};
	uint64_t count;

	if (until_ms != INT64_MAX && left_ms < 0)
		left_ms = 0;
	int timeout_ms = left_ms > INT_MAX ? INT_MAX : (int)left_ms;
	if (names->dns) {
		/* Names that are due, and wait for one of the running to end. */
		bool full = names->binding->running >= RUNNING_MAX;
		dns_wait(names->dns, names->wake_fd, full ? -1 : timeout_ms);
	} else {
		poll(&wake, 1, timeout_ms);
	}
	/* Not blocking: there may be nothing to read. */
	ssize_t ignored = read(names->wake_fd, &count, sizeof(count));
	(void)ignored;
}

static void *resolver(void *context)
{
	struct names *names = context;

	for (;;) {
		int64_t next_ms = INT64_MAX;
		pthread_mutex_lock(&names->lock);
		bool stopping = names->stopping;
		const struct names_work *offer = names->offered;
		pthread_mutex_unlock(&names->lock);
		if (stopping)
			break;
		if (offer)
			take_offer(names, offer);
		if (names->binding) {
			next_ms = advance(names, clock_ms());
			note_changes(names);
			publish(names->binding, false);
			keep(names, false);
			tell_tried(names);
		}
		wait_for_work(names, next_ms);
	}
	abort_running(names);
	keep(names, true);
	names->binding = binding_free(names->binding, NULL);
	return NULL;
}

/* ---- the doors ---- */

static void wake(struct names *names)
{
	uint64_t one = 1;
	/* Can only fail when the counter is full, and then it can be read. */
	ssize_t ignored = write(names->wake_fd, &one, sizeof(one));
	(void)ignored;
}

int names_take(struct names *names, const struct names_work *work, uint32_t wait_ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += wait_ms / 1000;
	until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&names->lock);
	names->offered = work;
	names->tried = false;
	wake(names);
	/* The thread comes back to its offers at once: no name holds it up. */
	while (names->offered)
		pthread_cond_wait(&names->changed, &names->lock);
	int r = names->offer_result, timed_out = 0;
	while (!names->tried && timed_out == 0)
		timed_out = pthread_cond_timedwait(&names->changed, &names->lock, &until);
	pthread_mutex_unlock(&names->lock);
	return r;
}

struct names *names_free(struct names *names)
{
	if (!names)
		return NULL;
	pthread_mutex_lock(&names->lock);
	names->stopping = true;
	wake(names);
	pthread_mutex_unlock(&names->lock);
	pthread_join(names->thread, NULL);
	pthread_cond_destroy(&names->changed);
	pthread_mutex_destroy(&names->lock);
	close(names->wake_fd);
	free(names->keep_path);
	free(names);
	return NULL;
}

int names_keep(struct names *names, const char *path, bool save_too)
{
	names->keep_path = strdup(path);
	names->keep_save = save_too;
	return names->keep_path ? 0 : -ENOMEM;
}

int names_new(const struct name_times *times, names_say *say, struct names **ret)
{
	struct names *names = calloc(1, sizeof(*names));

	if (!names)
		return -ENOMEM;
	names->times = *times;
	names->say = say;
	names->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (names->wake_fd < 0) {
		int r = -errno;
		free(names);
		return r;
	}
	pthread_mutex_init(&names->lock, NULL);
	thread_cond_init(&names->changed);
	int r = thread_start(&names->thread, "names", resolver, names);
	if (r < 0) {
		pthread_cond_destroy(&names->changed);
		pthread_mutex_destroy(&names->lock);
		close(names->wake_fd);
		free(names);
		return r;
	}
	*ret = names;
	return 0;
}
