/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * postern-policyd: the policy-delegation server. This file is its order of events: read
 * the configuration, open the sockets, drop privileges, start the threads, serve, and all
 * of it back.
 */

#include "common/cleanup.h"
#include "common/config.h"
#include "common/control.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/names_config.h"
#include "common/service.h"
#include "common/status.h"
#include "policyd/complaints.h"
#include "policyd/control.h"
#include "policyd/decision_log.h"
#include "policyd/gather.h"
#include "policyd/listeners.h"
#include "policyd/reload.h"
#include "policyd/server.h"
#include "policyd/state.h"
#include "policyd/store.h"
#include "policyd/workers.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define PROGRAM "postern-policyd"

/* Bounds of the tables in memory: about 150 bytes a counter and 100 a message. */
#define COUNTERS_MAX  1000000
#define INSTANCES_MAX 100000

/* Descriptors beside the connections: listeners, log, files of a reload, status page,
 * control sockets; and those of each worker's loop, Redis among them. */
#define DESCRIPTORS_BESIDE   (64 + 2 * CONTROL_CONNECTIONS)
#define DESCRIPTORS_A_WORKER 8

enum option_value { OPTION_SYSLOG = 256 };

struct options {
	const char *config;
	bool check, syslog;
};

/* All that runs, in the order in which it is built. */
struct daemon {
	struct listeners listeners;
	struct complaints *complaints;
	struct names *names;
	struct reload *reload;
	struct store *store;
	struct remembered remembered;
	struct state *state; /* NULL: nothing is kept */
	struct decision_log *decisions;
	struct workers *workers;
	struct endpoint status_endpoint;
	int status_fd; /* -1: no status page */
	struct status *status;
	struct control_sockets control_sockets;
	struct control *control;   /* NULL: no control socket */
	size_t descriptors_beside; /* the connections' */
	size_t room;               /* for connections, by the descriptor limit */
	atomic_size_t connections_max;
};

static void usage(FILE *to)
{
	fprintf(
	    to,
	    "usage: %s [-c FILE] [-t] [--syslog] [-V] [-h]\n"
	    "  -c FILE    configuration (%s)\n"
	    "  -t         check the configuration and every file it names, and exit\n"
	    "  --syslog   log to syslog, facility mail, instead of standard error\n"
	    "  -V         print the version\n"
	    "  -h         print this\n",
	    PROGRAM, CONFIG_DEFAULT_PATH);
}

/* Returns -1 to go on, else the exit code. */
static int parse_options(int argc, char **argv, struct options *ret)
{
	static const struct option long_options[] = {
	    {"syslog", no_argument, NULL, OPTION_SYSLOG},
	    {"version", no_argument, NULL, 'V'},
	    {"help", no_argument, NULL, 'h'},
	    {0},
	};
	struct options options = {.config = CONFIG_DEFAULT_PATH};
	int option;
	while ((option = getopt_long(argc, argv, "c:tVh", long_options, NULL)) != -1) {
		switch (option) {
		case 'c':
			options.config = optarg;
			break;
		case 't':
			options.check = true;
			break;
		case OPTION_SYSLOG:
			options.syslog = true;
			break;
		case 'V':
			printf("%s %s\n", PROGRAM, POSTERN_VERSION);
			return EXIT_SUCCESS;
		case 'h':
			usage(stdout);
			return EXIT_SUCCESS;
		default:
			usage(stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "%s: unexpected \"%s\"\n", PROGRAM, argv[optind]);
		usage(stderr);
		return EXIT_USAGE;
	}
	*ret = options;
	return -1;
}

/* Standard error goes nowhere: closed, or /dev/null. */
static bool stderr_is_lost(void)
{
	struct stat st;
	return fstat(STDERR_FILENO, &st) < 0 ||
	       (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3));
}

/* Descriptors 0 to 2 exist from here on: no socket can be taken for standard error. */
static void open_standard_descriptors(void)
{
	int fd;
	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
}

/* Returns -1 and *ret, or the exit code with every error told. */
static int load_config(const struct options *options, struct config **ret)
{
	struct config_errors errors = {0};
	int code = -1;
	int r = config_load(
	    options->config, CONFIG_LOAD_GEOIP | CONFIG_LOAD_REDIS, ret, &errors);
	for (size_t i = 0; i < errors.lines.count; i++) {
		if (options->check)
			fprintf(stderr, "%s\n", errors.lines.items[i]);
		else
			log_error("%s", errors.lines.items[i]);
	}
	if (r == -EINVAL) {
		size_t count = errors.lines.count + errors.more;
		if (options->check)
			fprintf(stderr, "%zu errors\n", count);
		else
			log_error("%zu errors in the configuration; not started", count);
		code = EXIT_CONFIG;
	} else if (r < 0) {
		log_error("cannot load %s: %s", options->config, strerror(-r));
		code = EXIT_FAILURE;
	}
	config_errors_done(&errors);
	return code;
}

static int check_config(const struct options *options)
{
	struct config *config;
	int code = load_config(options, &config);
	if (code >= 0)
		return code;
	for (size_t i = 0; i < config->notices.count; i++)
		printf("%s\n", config->notices.items[i]);
	printf("%s: no errors\n", options->config);
	config_unref(config);
	return EXIT_SUCCESS;
}

static unsigned workers_count(const struct config *config)
{
	return config->policyd.workers ? config->policyd.workers : (unsigned)get_nprocs();
}

/* policyd.max_connections, or fewer with a warning. */
static void set_connections_max(struct daemon *daemon, const struct config *config)
{
	size_t wanted = config->policyd.max_connections;
	atomic_store(
	    &daemon->connections_max, wanted < daemon->room ? wanted : daemon->room);
	if (wanted > daemon->room)
		log_warning(
		    "policyd.max_connections is %zu, but the descriptor limit has room "
		    "for %zu; raise it (LimitNOFILE=, ulimit -n) to %zu",
		    wanted, daemon->room, wanted + daemon->descriptors_beside);
}

static void on_published(void *context, const struct config *config)
{
	struct daemon *daemon = context;
	workers_refresh(daemon->workers);
	control_refresh(daemon->control);
	if (decision_log_reopen(daemon->decisions, config->log.decisions) < 0)
		log_error("decision log: no memory to open it anew; the old one goes on");
	set_connections_max(daemon, config);
}

static void say_no_status(const char *why)
{
	log_error(
	    "policyd.status: %s; there is no status page, policy requests are served all "
	    "the same",
	    why);
}

static void open_status(struct daemon *daemon, const struct config *config)
{
	char why[512];
	if (config->policyd.status[0] == '\0')
		return;
	daemon->status_fd = status_listen(
	    config->policyd.status, &daemon->status_endpoint, why, sizeof(why));
	if (daemon->status_fd < 0)
		say_no_status(why);
}

/* What may fail for reasons outside: sockets, privileges, limits. */
static int prepare(struct daemon *daemon, const struct config *config)
{
	char why[512];
	int is_root;
	if (listeners_open(config, &daemon->listeners, why, sizeof(why)) < 0) {
		log_error("%s", why);
		return -1;
	}
	open_status(daemon, config);
	control_sockets_open(config, &daemon->control_sockets);
	daemon->descriptors_beside =
	    DESCRIPTORS_BESIDE + DESCRIPTORS_A_WORKER * workers_count(config);
	size_t limit = service_raise_descriptors();
	daemon->room =
	    limit > daemon->descriptors_beside ? limit - daemon->descriptors_beside : 1;
	if (service_drop_privileges(config->policyd.user, &is_root, why, sizeof(why)) <
	    0) {
		log_error("policyd.user: %s", why);
		return -1;
	}
	if (is_root)
		log_warning("running as root: name an account in policyd.user, which "
			    "the daemon becomes once its sockets are open");
	set_connections_max(daemon, config);
	return 0;
}

/* Before anything is served. */
static int load_state(struct daemon *daemon, const struct config *config)
{
	const struct state_parts parts = {
	    .memory = daemon->store,
	    .blocks = daemon->remembered.blocks,
	    .logins = daemon->remembered.logins,
	};

	if (config->policyd.state[0] == '\0')
		return 0;
	int r = state_new(
	    config->policyd.state, &parts, config, daemon->reload, &daemon->state);
	return r < 0 ? r : state_start(daemon->state);
}

static const char *loops_trouble(void *context)
{
	return workers_stuck(context)
		   ? "an event loop does not turn: restart the daemon, and tell what the "
		     "log says"
		   : NULL;
}

static int start_control(struct daemon *daemon)
{
	const struct control_sockets *sockets = &daemon->control_sockets;
	struct control_parts parts = {
	    .reload = daemon->reload,
	    .memory = daemon->store,
	    .remembered = daemon->remembered,
	};

	return control_new(sockets, &parts, &daemon->control);
}

/* Takes @config. */
static int start(
    struct daemon *daemon, const struct options *options, struct config *config)
{
	unsigned workers = workers_count(config);
	int r = decision_log_new(config->log.decisions, &daemon->decisions);
	if (r == 0)
		r = names_start(false, &daemon->names);
	if (r == 0)
		r = names_keep_beside(daemon->names, config->policyd.state, true);
	if (r == 0)
		r = names_take_config(daemon->names, config, NAMES_ALL);
	if (r < 0) {
		config_unref(config);
		return r;
	}
	r = reload_new(options->config, config, daemon->names, &daemon->reload);
	if (r == 0)
		r = complaints_new(&daemon->complaints);
	if (r == 0)
		r = store_memory_new(COUNTERS_MAX, &daemon->store);
	if (r == 0)
		r = instances_new(INSTANCES_MAX, &daemon->remembered.instances);
	if (r == 0)
		r = blocks_new(BLOCKS_MAX, &daemon->remembered.blocks);
	if (r == 0)
		r = logins_new(LOGINS_MAX, &daemon->remembered.logins);
	if (r == 0)
		r = load_state(daemon, config);
	if (r < 0)
		return r;
	struct workers_shared shared = {
	    .reload = daemon->reload,
	    .store = daemon->store,
	    .remembered = daemon->remembered,
	    .complaints = daemon->complaints,
	    .decisions = daemon->decisions,
	};
	r = workers_new(workers, &shared, &daemon->workers);
	if (r < 0)
		return r;
	metrics_set(metrics_series(METRIC_STORE_UP, "memory", NULL), 1);
	if (daemon->status_fd >= 0 &&
	    status_new(daemon->status_fd, PROGRAM, &daemon->status) < 0)
		say_no_status("no memory");
	if (daemon->status)
		status_watch(daemon->status, loops_trouble, daemon->workers);
	r = start_control(daemon);
	if (r < 0)
		return r;
	return reload_start(daemon->reload, on_published, daemon);
}

static void daemon_done(struct daemon *daemon)
{
	status_free(daemon->status);
	if (daemon->status_fd >= 0) {
		endpoint_unlink(&daemon->status_endpoint);
		close(daemon->status_fd);
	}
	/* First the loader, which tells the workers of what it publishes; the listeners
	 * after the workers, whose connections name them. */
	if (daemon->reload)
		reload_stop(daemon->reload);
	control_free(daemon->control);
	control_sockets_close(&daemon->control_sockets);
	workers_free(daemon->workers);
	/* Nobody changes anything any more. */
	state_free(daemon->state);
	listeners_close(&daemon->listeners);
	decision_log_free(daemon->decisions);
	logins_free(daemon->remembered.logins);
	blocks_free(daemon->remembered.blocks);
	instances_free(daemon->remembered.instances);
	store_free(daemon->store);
	reload_free(daemon->reload);
	names_free(daemon->names);
	complaints_free(daemon->complaints);
}

static int run(const struct options *options)
{
	struct config *config;
	int code = load_config(options, &config);
	if (code >= 0)
		return code;
	log_set_level(config->log.level);
	for (size_t i = 0; i < config->notices.count; i++)
		log_info("%s", config->notices.items[i]);

	struct daemon daemon = {
	    .status_fd = -1, .control_sockets = {.control_fd = -1, .login_fd = -1}};
	if (prepare(&daemon, config) < 0) {
		config_unref(config);
		daemon_done(&daemon);
		return EXIT_FAILURE;
	}
	int r = start(&daemon, options, config);
	if (r == 0) {
		for (size_t i = 0; i < daemon.listeners.count; i++)
			log_info("listening on %s", daemon.listeners.items[i].name);
		struct server_parts parts = {
		    .listeners = &daemon.listeners,
		    .reload = daemon.reload,
		    .workers = daemon.workers,
		    .complaints = daemon.complaints,
		    .status = daemon.status,
		    .connections_max = &daemon.connections_max,
		};
		r = server_run(&parts);
	}
	if (r < 0)
		log_error("cannot start: %s", strerror(-r));
	daemon_done(&daemon);
	if (r == 0)
		log_info("stopped");
	return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	struct options options;
	int code = parse_options(argc, argv, &options);
	if (code >= 0)
		return code;
	if (options.check)
		return check_config(&options);

	bool to_syslog = options.syslog || stderr_is_lost();
	open_standard_descriptors();
	server_block_signals();
	int r = log_start(PROGRAM, to_syslog, LOG_LEVEL_INFO);
	if (r < 0) {
		fprintf(stderr, "%s: cannot start the log: %s\n", PROGRAM, strerror(-r));
		return EXIT_FAILURE;
	}
	code = run(&options);
	log_stop();
	return code;
}
