/* SPDX-License-Identifier: BSD-2-Clause */
#include "milter/child.h"

#include "common/config.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/names_config.h"
#include "common/service.h"
#include "common/status.h"
#include "milter/callbacks.h"
#include "milter/control.h"
#include "milter/counts.h"
#include "milter/gate.h"
#include "milter/generation.h"
#include "milter/session.h"
#include "milter/sign.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

/* How long the messages under way may take to end; the parent waits for 15 s. */
#define STOP_WAIT_MS 10000
#define TICK_MS      20

/* How often the child looks whether it is out of descriptors or threads, and how often in
 * a row it must be. */
#define LOOK_MS     1000
#define STUCK_LOOKS 3

struct child {
	const char *config_path;
	bool first;
	struct generation_slot *slot;
	struct names *names;
	struct gate *gate;
	bool has_page, has_control;
	struct control *control;     /* NULL: none */
	char why[512];               /* the last load failed: one line */
	struct status *status;       /* NULL: no page */
	struct generation *prepared; /* between PREPARE and PUBLISH or DROP */
	size_t descriptors;          /* as many as it may have */
	int served[2];               /* its write end closes when libmilter returned */
};

/* A signal that is ignored and not blocked in the main thread is dropped by the kernel
 * before libmilter's thread, which waits for HUP, INT and TERM, could see it. */
static void ignore_signals(void)
{
	static const int ignored[] = {SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGPIPE};
	sigset_t set;
	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++) {
		sigaddset(&set, ignored[i]);
		signal(ignored[i], SIG_IGN);
	}
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static void log_notices(const struct child *child, const struct config *config)
{
	if (!child->first)
		return;
	for (size_t i = 0; i < config->notices.count; i++)
		log_info("%s", config->notices.items[i]);
}

/* What a start and a reload are held up at most, as by common/names_config.c. */
#define DNS_WAIT_MS 5000

static void say(enum log_level level, const char *line)
{
	log_line(level, "%s", line);
}

/*
 * Before it serves: keys and names are asked for side by side, and are known when this
 * returns, or DNS does not answer in time. 0, or -ENOMEM: names match nobody.
 */
static int watch_dns(struct child *child, struct generation *generation)
{
	uint64_t began_ns = metrics_clock_ns();
	uint64_t wait_ms = 3 * (uint64_t)generation->config->dns_timeout_ms;
	if (wait_ms > DNS_WAIT_MS)
		wait_ms = DNS_WAIT_MS;
	gate_take(child->gate, generation->gate);
	int r = names_take_config(child->names, generation->config, NAMES_RELAY);
	uint64_t waited_ms = (metrics_clock_ns() - began_ns) / 1000000;
	gate_wait(child->gate, (uint32_t)(waited_ms < wait_ms ? wait_ms - waited_ms : 0));
	return r;
}

/* NULL: all is in the log. @consequence ends the sentence about a broken file. */
static struct generation *load(struct child *child, const char *consequence)
{
	struct config_errors errors = {0};
	struct config *config = NULL;
	struct generation *generation = NULL;
	int r = config_load(
	    child->config_path, CONFIG_LOAD_KEYS | CONFIG_LOAD_TOKENS, &config, &errors);
	for (size_t i = 0; child->first && i < errors.lines.count; i++)
		log_error("%s", errors.lines.items[i]);
	if (child->first && errors.more > 0)
		log_error("%zu further errors", errors.more);
	snprintf(
	    child->why, sizeof(child->why), "%s",
	    errors.lines.count > 0 ? errors.lines.items[0] : "out of memory");
	if (r < 0)
		log_error(
		    "configuration %s is broken (%zu errors): %s", child->config_path,
		    errors.lines.count + errors.more, consequence);
	config_errors_done(&errors);
	if (r == 0 && generation_new(config, &generation) < 0) {
		log_error(
		    "configuration %s was not taken: out of memory: %s",
		    child->config_path, consequence);
		config_unref(config);
	}
	return generation;
}

static void report(enum child_status status)
{
	char byte = (char)status;
	/* A parent that is gone shows on the command pipe. */
	while (write(CHILD_STATUS, &byte, 1) < 0 && errno == EINTR)
		continue;
}

static enum child_status prepare(struct child *child)
{
	static const char consequence[] =
	    "it changes nothing, the old one goes on; mend it and reload again";
	child->prepared = generation_unref(child->prepared);
	struct generation *next = load(child, consequence);
	if (!next) {
		status_count_load(false);
		control_reloaded(child->control, child->why);
		return CHILD_BROKEN;
	}
	struct generation *now = generation_slot_get(child->slot);
	const char *key = config_needs_restart(now->config, next->config, "milter");
	generation_unref(now);
	if (key) {
		if (child->first)
			log_error(
			    "configuration %s was not taken: %s changed, which needs a "
			    "restart; the old one goes on",
			    child->config_path, key);
		generation_unref(next);
		status_count_load(false);
		snprintf(
		    child->why, sizeof(child->why), "%s changed, which needs a restart",
		    key);
		control_reloaded(child->control, child->why);
		return CHILD_BROKEN;
	}
	child->prepared = next;
	return CHILD_PREPARED;
}

static void publish(struct child *child)
{
	struct generation *next = child->prepared;
	child->prepared = NULL;
	log_set_level(next->config->log.level);
	log_notices(child, next->config);
	if (watch_dns(child, next) < 0)
		log_error(
		    "out of memory: entries of relay.hosts that come from DNS match "
		    "nobody until the next reload");
	generation_slot_set(child->slot, next);
	status_count_load(true);
	control_reloaded(child->control, NULL);
}

static void obey(struct child *child, char command)
{
	switch ((enum child_command)command) {
	case CHILD_PREPARE:
		report(prepare(child));
		return;
	case CHILD_PUBLISH:
		if (child->prepared)
			publish(child);
		report(CHILD_PUBLISHED);
		return;
	case CHILD_DROP:
		child->prepared = generation_unref(child->prepared);
		control_reloaded(child->control, "another child could not take it");
		return;
	}
}

/*
 * Connections that never say a word are no sessions yet and have no bound. When they took
 * every descriptor, libmilter's listener spins without a word, and only a new child
 * helps.
 */
static bool is_out_of_descriptors(void)
{
	int fd = dup(CHILD_COMMAND);
	if (fd >= 0)
		close(fd);
	return fd < 0 && (errno == EMFILE || errno == ENFILE);
}

static void *do_nothing(void *argument)
{
	return argument;
}

/* libmilter's pool stalls without a word when it wants a thread and gets none. */
static bool is_out_of_threads(void)
{
	pthread_t thread;
	int r = pthread_create(&thread, NULL, do_nothing, NULL);
	if (r == 0)
		pthread_join(thread, NULL);
	return r == EAGAIN;
}

/* What libmilter cannot live without, or NULL. */
static const char *find_lack(void)
{
	if (is_out_of_descriptors())
		return "no descriptor is left (LimitNOFILE)";
	return is_out_of_threads() ? "no thread can be started (TasksMax)" : NULL;
}

/* Until the command pipe ends (0), libmilter returned by itself or is stuck (-1). */
static int obey_parent(struct child *child)
{
	int stuck = 0;
	struct pollfd fds[2] = {
	    {.fd = CHILD_COMMAND, .events = POLLIN},
	    {.fd = child->served[0], .events = POLLIN},
	};
	for (;;) {
		int ready = poll(fds, 2, LOOK_MS);
		const char *lack = ready == 0 ? find_lack() : NULL;
		stuck = lack ? stuck + 1 : 0;
		if (stuck >= STUCK_LOOKS) {
			log_error(
			    "%s, sessions wait unanswered: this child ends what is under "
			    "way, and another one starts; raise the limit",
			    lack);
			return -1;
		}
		if (ready <= 0)
			continue;
		if (fds[1].revents) {
			log_error("libmilter stopped by itself; the parent starts anew");
			return -1;
		}
		if (!fds[0].revents)
			continue;
		char command;
		ssize_t n = read(CHILD_COMMAND, &command, 1);
		if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
			return 0;
		if (n == 1)
			obey(child, command);
	}
}

static void *serve(void *argument)
{
	struct child *child = argument;
	callbacks_serve();
	close(child->served[1]);
	return NULL;
}

/*
 * Threads of libmilter's pool are joined by nobody and its mutexes are destroyed by exit
 * handlers: nothing may be torn down under them.
 */
static _Noreturn void leave(int code)
{
	log_stop();
#ifdef __SANITIZE_ADDRESS__
	/* It needs descriptors and a thread itself. */
	if (code == 0)
		__lsan_do_leak_check();
#endif
	_exit(code);
}

/*
 * Not by smfi_stop(): it waits up to 5 s for a lock and then cuts what is open. Once the
 * messages under way have their answer nothing is lost by leaving.
 */
static _Noreturn void stop(struct child *child, int code)
{
	struct pollfd served = {.fd = child->served[0], .events = POLLIN};
	status_leaving(child->status);
	session_refuse_new();
	for (int waited = 0; waited < STOP_WAIT_MS && !served.revents;
	     waited += TICK_MS) {
		bool idle = session_messages() == 0;
		/* The last answer is written after its message is done: one tick more. */
		poll(&served, 1, TICK_MS);
		if (idle)
			break;
	}
	child->status = status_free(child->status);
	child->control = control_free(child->control);
	child->names = names_free(child->names);
	child->gate = gate_free(child->gate);
	leave(code);
}

/* The page of all children: each serves the socket, whichever accepts answers. */
static void serve_status(struct child *child)
{
	if (!child->has_page)
		return;
	int r = status_new(CHILD_PAGE, "postern-milter", &child->status);
	if (r < 0)
		log_error(
		    "milter.status: %s; there is no status page, mail is served all the "
		    "same",
		    strerror(-r));
}

/* What the operator's command asks. */
static void serve_control(struct child *child)
{
	if (!child->has_control)
		return;
	int r = control_new(CHILD_CONTROL, child->slot, child->gate, &child->control);
	if (r < 0)
		log_error(
		    "milter.control: %s; \"postern status\" cannot ask this daemon, mail "
		    "is served all the same",
		    strerror(-r));
}

/* Opens and starts the thread; 0 or -1 after a line in the log. */
static int start(struct child *child, pthread_t *ret_thread)
{
	int r;
	if (pipe(child->served) < 0) {
		log_error("cannot open a pipe: %s", strerror(errno));
		return -1;
	}
	if (callbacks_open(CHILD_SOCKET, child->slot, child->descriptors) < 0)
		return -1;
	r = pthread_create(ret_thread, NULL, serve, child);
	if (r != 0) {
		log_error("cannot start a thread: %s", strerror(r));
		return -1;
	}
	pthread_detach(*ret_thread);
	return 0;
}

int child_main(const char *config_path, bool first, bool to_syslog)
{
	/* Static: libmilter's threads may look at the slot until the process is gone. */
	static struct child child;
	pthread_t thread;
	child.config_path = config_path;
	child.first = first;
	ignore_signals();
	/* Looked at before anything else opens: a number that the parent left free may
	 * be a socket of the log's later. */
	struct stat st;
	child.has_page = fstat(CHILD_PAGE, &st) == 0 && S_ISSOCK(st.st_mode);
	child.has_control = fstat(CHILD_CONTROL, &st) == 0 && S_ISSOCK(st.st_mode);
	/* Nobody asks, no arena. Without it this child's counts are on no page, and
	 * nothing else is amiss. */
	int counted =
	    fcntl(CHILD_METRICS, F_GETFD) < 0 ? 0 : metrics_arena_use(CHILD_METRICS);
	/* A log that does not start writes at once, which is good enough. */
	service_start_log("postern-milter", to_syslog);
	child.descriptors = service_raise_descriptors();
	if (counted < 0)
		log_error("milter.status: no shared counters: %s", strerror(-counted));
	counts_init();

	struct generation *generation = load(&child, "not started");
	if (!generation) {
		log_stop();
		return EXIT_CONFIG;
	}
	log_set_level(generation->config->log.level);
	log_notices(&child, generation->config);
	if (names_start(!first, &child.names) < 0 ||
	    names_keep_beside(child.names, generation->config->milter.dkim.state, first) <
		0 ||
	    gate_new(say, first, &child.gate) < 0 || watch_dns(&child, generation) < 0 ||
	    generation_slot_new(generation, &child.slot) < 0) {
		log_error("not started: out of memory");
		names_free(child.names);
		gate_free(child.gate);
		generation_unref(generation);
		log_stop();
		return 1;
	}
	if (start(&child, &thread) < 0) {
		log_stop();
		return 1;
	}
	if (first && !sign_is_fast())
		log_warning(
		    "signing takes four times as long as it could: libopendkim does not "
		    "call this program's PEM_read_bio_PrivateKey() and SHA256_Update(); "
		    "build it without a version script, and keep its dynamic symbols");
	status_count_load(true);
	serve_status(&child);
	serve_control(&child);
	report(CHILD_READY);
	stop(&child, obey_parent(&child) < 0 ? 1 : 0);
}
