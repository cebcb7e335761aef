/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `postern dkim genkey [FILE]`: a new key, readable by the milter's account alone, the
 * lines for postern.json, and the record to publish. Never overwrites a file. The
 * configuration is only read, for milter.user and the folder of keys; a broken or missing
 * one does not keep a key from being made.
 */
#include "common/address.h"
#include "common/cleanup.h"
#include "common/config_values.h"
#include "common/dkim_record.h"
#include "common/service.h"
#include "ctl/ctl.h"
#include "ctl/dkim.h"
#include "ctl/options.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

DEFINE_CLEANUP(struct config, config_unref)
DEFINE_CLEANUP(struct dkim_key, dkim_key_free)

#define BITS_DEFAULT 2048

static const char usage[] =
    "usage: postern dkim genkey [FILE] [--algorithm rsa|ed25519] [--bits 2048]\n"
    "           [--selector S] [--domain D] [-c FILE] [--json]\n";

struct plan {
	enum dkim_algorithm algorithm;
	unsigned bits;
	char selector[64];
	char domain[ADDRESS_DOMAIN_MAX + 1]; /* "": not said */
	char file[PATH_MAX];
	bool default_file;
	char folder[PATH_MAX - 16]; /* of the configuration, with its final slash */
	bool has_owner;             /* the file is given to him */
	struct passwd owner;
	char owner_strings[4096];
};

static void string_freep(char **string)
{
	free(*string);
}

static void pem_freep(char **pem)
{
	dkim_key_pem_free(*pem);
}

__attribute__((format(printf, 1, 2))) static int fail(const char *format, ...)
{
	va_list args;
	fputs("postern dkim genkey: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return EXIT_FAILURE;
}

/* ---- what is asked for ---- */

static int plan_kind(struct plan *plan, const char *algorithm, const char *bits)
{
	char *end = NULL;

	plan->algorithm = DKIM_RSA_SHA256;
	plan->bits = BITS_DEFAULT;
	if (algorithm && strcmp(algorithm, "ed25519") == 0)
		plan->algorithm = DKIM_ED25519_SHA256;
	else if (algorithm && strcmp(algorithm, "rsa") != 0)
		return ctl_wrong_use(
		    "dkim genkey", usage, "--algorithm %s: rsa or ed25519 is expected",
		    algorithm);
	if (!bits)
		return 0;
	if (plan->algorithm == DKIM_ED25519_SHA256)
		return ctl_wrong_use(
		    "dkim genkey", usage, "--bits: an Ed25519 key has no choice of size");
	unsigned long number = strtoul(bits, &end, 10);
	if (bits[0] < '0' || bits[0] > '9' || *end || number < 1024 || number > 8192)
		return ctl_wrong_use(
		    "dkim genkey", usage,
		    "--bits %s: a number from 1024 to 8192 is "
		    "expected, 2048 is right",
		    bits);
	plan->bits = (unsigned)number;
	return 0;
}

/* s202611, and -ed behind it for the other kind, so that both may stand side by side. */
static void default_selector(struct plan *plan)
{
	time_t now = time(NULL);
	struct tm tm;
	char month[16] = "";

	if (localtime_r(&now, &tm))
		strftime(month, sizeof(month), "%Y%m", &tm);
	snprintf(
	    plan->selector, sizeof(plan->selector), "s%s%s", month,
	    plan->algorithm == DKIM_ED25519_SHA256 ? "-ed" : "");
}

static int plan_names(struct plan *plan, const char *selector, const char *domain)
{
	if (!selector) {
		default_selector(plan);
	} else {
		const char *wrong = selector[0] ? check_selector(selector) : "a selector";
		if (wrong)
			return ctl_wrong_use(
			    "dkim genkey", usage, "--selector %s: %s is expected",
			    selector, wrong);
		snprintf(plan->selector, sizeof(plan->selector), "%s", selector);
	}
	if (domain && !domain_canonical(domain, strlen(domain), plan->domain))
		return ctl_wrong_use(
		    "dkim genkey", usage,
		    "--domain %s: a name such as \"example.org\" is expected", domain);
	return 0;
}

/* FILE as given, or keys/SELECTOR.pem beside the configuration. */
static int plan_file(struct plan *plan, const char *file, const char *config_file)
{
	const char *slash = strrchr(config_file, '/');
	int len = slash ? (int)(slash - config_file) + 1 : 0;
	int n;

	plan->default_file = !file;
	snprintf(plan->folder, sizeof(plan->folder), "%.*s", len, config_file);
	if (file)
		n = snprintf(plan->file, sizeof(plan->file), "%s", file);
	else
		n = snprintf(
		    plan->file, sizeof(plan->file), "%skeys/%s%s%s.pem", plan->folder,
		    plan->domain, plan->domain[0] ? "-" : "", plan->selector);
	return n < (int)sizeof(plan->file) ? 0 : fail("the file's name is too long");
}

/* Who must be able to read it: milter.user, when we may give files away. */
static int plan_owner(struct plan *plan, const struct config *config)
{
	struct passwd *found = NULL;

	if (!config || !config->milter.user[0] || geteuid() != 0)
		return 0;
	int r = getpwnam_r(
	    config->milter.user, &plan->owner, plan->owner_strings,
	    sizeof(plan->owner_strings), &found);
	if (!found)
		return fail(
		    "milter.user: there is no user \"%s\"%s%s", config->milter.user,
		    r ? ": " : "", r ? strerror(r) : "");
	plan->has_owner = true;
	return 0;
}

/* ---- the file ---- */

static int give_away(int fd, const struct plan *plan)
{
	return plan->has_owner ? fchown(fd, plan->owner.pw_uid, plan->owner.pw_gid) : 0;
}

/* The default's folder alone: nobody wants folders made by a misspelt name. */
static int make_folder(const struct plan *plan)
{
	char folder[PATH_MAX];

	snprintf(folder, sizeof(folder), "%skeys", plan->folder);
	if (mkdir(folder, 0700) < 0)
		return errno == EEXIST ? 0
				       : fail(
					     "cannot make the folder %s: %s", folder,
					     strerror(errno));
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int r = fd < 0 ? -1 : give_away(fd, plan);
	int code = errno;
	if (fd >= 0)
		close(fd);
	return r == 0 ? 0
		      : fail(
			    "cannot give the folder %s to %s: %s", folder,
			    plan->owner.pw_name, strerror(code));
}

static int write_all(int fd, const char *text)
{
	size_t len = strlen(text);

	while (len) {
		ssize_t n = write(fd, text, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		text += n;
		len -= (size_t)n;
	}
	return fsync(fd);
}

static int write_key(const struct plan *plan, const struct dkim_key *key)
{
	CLEANUP(pem_freep) char *pem = NULL;

	if (dkim_key_pem(key, &pem) < 0)
		return fail("out of memory");
	int fd =
	    open(plan->file, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 && errno == EEXIST)
		return fail(
		    "%s exists and is left as it is; say another FILE or --selector",
		    plan->file);
	if (fd < 0)
		return fail("cannot make %s: %s", plan->file, strerror(errno));
	/* Whatever the umask. */
	int r = fchmod(fd, 0600) < 0 || write_all(fd, pem) < 0 || give_away(fd, plan) < 0
		    ? errno
		    : 0;
	close(fd);
	if (r == 0)
		return 0;
	unlink(plan->file);
	return fail("cannot write %s: %s", plan->file, strerror(r));
}

/* ---- what is printed ---- */

/* The name of the file as the configuration takes it. */
static const char *file_for_config(const struct plan *plan, char buf[static PATH_MAX])
{
	size_t len = strlen(plan->folder);

	if (len > 0 && strncmp(plan->file, plan->folder, len) == 0)
		return plan->file + len;
	/* As long as it is relative it is so to where we are. */
	return plan->file[0] != '/' && realpath(plan->file, buf) ? buf : plan->file;
}

static json_t *key_lines(const struct plan *plan, const char *file)
{
	json_t *key = json_pack("{s:s, s:s}", "selector", plan->selector, "file", file);
	return json_pack("{s:o}", plan->selector, key);
}

static void print_lines(const struct plan *plan, const char *file)
{
	json_t *key = json_pack("{s:s, s:s}", "selector", plan->selector, "file", file);
	char *text = key ? json_dumps(key, JSON_COMPACT) : NULL;

	printf(
	    "In postern.json, among milter.dkim.keys:\n\n    \"%s\": %s\n\n"
	    "and \"%s\" first in the \"dkim\" list of %s. It signs once DNS shows\n\n",
	    plan->selector, text ? text : "", plan->selector,
	    plan->domain[0] ? plan->domain : "its domains, or in defaults.dkim");
	free(text);
	json_decref(key);
}

static int print(const struct plan *plan, const struct dkim_key *key, bool json)
{
	char buf[PATH_MAX];
	const char *file = file_for_config(plan, buf);
	const char *domain = plan->domain[0] ? plan->domain : "DOMAIN";
	CLEANUP(string_freep) char *name = dkim_record_name(plan->selector, domain);
	CLEANUP(string_freep) char *text = dkim_record_text(key);
	CLEANUP(string_freep)
	char *zone = name && text ? dkim_record_zone_line(name, text) : NULL;

	if (!zone)
		return fail("%s is written; out of memory", plan->file);
	if (json) {
		json_t *root = json_pack(
		    "{s:s, s:s, s:i, s:s, s:o, s:s, s:s, s:s}", "file", plan->file,
		    "algorithm", dkim_algorithm_name(key->algorithm), "bits",
		    (int)key->bits, "selector", plan->selector, "keys",
		    key_lines(plan, file), "name", name, "value", text, "zone", zone);
		json_dumpf(root, stdout, JSON_INDENT(2));
		putchar('\n');
		json_decref(root);
		return 0;
	}
	printf(
	    "%s: %s, %u bits, mode 0600%s%s\n\n", plan->file,
	    dkim_algorithm_name(key->algorithm), key->bits,
	    plan->has_owner ? ", of user " : "",
	    plan->has_owner ? plan->owner.pw_name : "");
	print_lines(plan, file);
	printf("%s\n", zone);
	if (!plan->has_owner && geteuid() == 0)
		printf("\nThe file is root's: where the milter is started as another "
		       "account, as by\nsystemd's User=, give it to that account.\n");
	return 0;
}

static int generate(const struct plan *plan, bool json)
{
	CLEANUP(dkim_key_freep) struct dkim_key *key = NULL;

	if (access(plan->file, F_OK) == 0)
		return fail(
		    "%s exists and is left as it is; say another FILE or --selector",
		    plan->file);
	if (dkim_key_generate(plan->algorithm, plan->bits, &key) < 0)
		return fail("OpenSSL made no key");
	int code = plan->default_file ? make_folder(plan) : 0;
	if (code == 0)
		code = write_key(plan, key);
	return code ? code : print(plan, key, json);
}

int dkim_genkey(int argc, char **argv)
{
	const char *algorithm = NULL, *bits = NULL, *selector = NULL, *domain = NULL;
	const struct ctl_option options[] = {
	    {"algorithm", &algorithm, NULL},
	    {"bits", &bits, NULL},
	    {"selector", &selector, NULL},
	    {"domain", &domain, NULL},
	};
	struct ctl_line line = {
	    .usage = usage,
	    .options = options,
	    .options_count = sizeof(options) / sizeof(options[0]),
	    .arguments = {"FILE"},
	};
	CLEANUP(config_unrefp) struct config *config = NULL;
	struct config_errors errors = {0};
	struct plan plan = {0};

	int code = ctl_line_parse(&line, argc, argv);
	if (code >= 0)
		return code;
	if (config_load(line.file, 0, &config, &errors) < 0)
		fprintf(
		    stderr,
		    "postern dkim genkey: %s cannot be read, so the key's file stays "
		    "with whom it belongs to now\n",
		    line.file);
	config_errors_done(&errors);
	code = plan_kind(&plan, algorithm, bits);
	if (code == 0)
		code = plan_names(&plan, selector, domain);
	if (code == 0)
		code = plan_file(&plan, line.argument[0], line.file);
	if (code == 0)
		code = plan_owner(&plan, config);
	return code ? code : generate(&plan, line.json);
}
