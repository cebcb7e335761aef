/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Asks a policy server as many smtpd processes do: persistent connections, one request
 * outstanding on each. Prints one JSON line: requests a second, percentiles in ms, how
 * often each answer came, and how many requests were sent, the warm-up's among them.
 *
 *	policy_load PATH CONNECTIONS SECONDS [STATE]
 *
 * STATE: RCPT (default) or END-OF-MESSAGE. Clients are 192.0.2.x and 203.0.113.x, users,
 * senders and recipients many.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define WARM_UP_NS 500000000LL
#define SAMPLES    (8 * 1024 * 1024)

struct asker {
	int fd;
	int64_t asked_ns;
};

static const char *state = "RCPT";
static uint32_t *samples_us;
static size_t samples;
static unsigned long errors, ok, dunno, others;

/* Requests are made beforehand, so that the client is not what is measured. */
#define TEMPLATES     2048
#define SERIAL_DIGITS 12

static struct template
{
	char bytes[1400];
	size_t len;
	char *serial; /* the digits of its instance, new for every sending */
}
templates[TEMPLATES];
static uint64_t serial;

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* About what Postfix 3.7 sends. */
static void compose(struct template *template, unsigned n)
{
	unsigned client = (unsigned)(n * 2654435761U >> 8);

	template->len = (size_t)snprintf(
	    template->bytes, sizeof(template->bytes),
	    "request=smtpd_access_policy\nprotocol_state=%s\nprotocol_name=ESMTP\n"
	    "client_address=%s%u\nclient_name=host%u.example.net\nclient_port=40%03u\n"
	    "reverse_client_name=host%u.example.net\nserver_address=198.51.100.1\n"
	    "server_port=25\nhelo_name=host%u.example.net\nsender=user%u@example.org\n"
	    "recipient=%s\nrecipient_count=%u\nqueue_id=%s\n"
	    "instance=1a2b.6740f1b2.000000000000.0\nsize=%u\netrn_domain=\nstress=\n"
	    "sasl_method=\nsasl_username=\nsasl_sender=\nccert_subject=\nccert_issuer=\n"
	    "ccert_fingerprint=\nccert_pubkey_fingerprint=\nencryption_protocol=\n"
	    "encryption_cipher=\nencryption_keysize=0\npolicy_context=\n\n",
	    state, client & 1 ? "192.0.2." : "203.0.113.", client >> 1 & 255,
	    client & 1023, client & 255, client & 1023, client & 1023, client >> 3 & 4095,
	    state[0] == 'R' ? "somebody@elsewhere.example" : "",
	    state[0] == 'R' ? 0U : 1U, state[0] == 'R' ? "" : "4F3D12345", 4096U);
	template->serial =
	    strstr(template->bytes, "instance=") + strlen("instance=1a2b.6740f1b2.");
}

static void ask(struct asker *asker)
{
	struct template *template = &templates[serial % TEMPLATES];
	uint64_t n = serial++;

	for (int i = SERIAL_DIGITS - 1; i >= 0; i--, n /= 10)
		template->serial[i] = (char)('0' + n % 10);
	asker->asked_ns = now_ns();
	if (write(asker->fd, template->bytes, template->len) != (ssize_t) template->len)
		errors++;
}

static void count_answer(const char *answer, size_t len)
{
	if (len < 9 || memcmp(answer + len - 2, "\n\n", 2) != 0)
		errors++;
	else if (memcmp(answer, "action=DUNNO", 12) == 0)
		dunno++;
	else if (memcmp(answer, "action=OK", 9) == 0)
		ok++;
	else
		others++;
}

static void take_answer(struct asker *asker, int64_t measured_from_ns)
{
	char answer[1024];
	ssize_t len = read(asker->fd, answer, sizeof(answer));

	if (len <= 0) {
		if (len < 0 && errno == EAGAIN)
			return;
		fprintf(stderr, "policy_load: the server closed a connection\n");
		exit(1);
	}
	int64_t now = now_ns();
	if (now >= measured_from_ns) {
		count_answer(answer, (size_t)len);
		if (samples < SAMPLES)
			samples_us[samples++] =
			    (uint32_t)((now - asker->asked_ns) / 1000);
	}
	ask(asker);
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static double percentile_ms(double share)
{
	return samples ? samples_us[(size_t)((double)(samples - 1) * share)] / 1000.0 : 0;
}

static void dial(struct asker *asker, const char *path, int epoll)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = asker};

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	asker->fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (asker->fd < 0 ||
	    connect(asker->fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    epoll_ctl(epoll, EPOLL_CTL_ADD, asker->fd, &event) < 0) {
		perror(path);
		exit(1);
	}
}

int main(int argc, char **argv)
{
	struct epoll_event events[256];

	if (argc < 4 || atoi(argv[2]) < 1 || atof(argv[3]) <= 0) {
		fprintf(stderr, "usage: policy_load PATH CONNECTIONS SECONDS [STATE]\n");
		return 64;
	}
	size_t connections = (size_t)atoi(argv[2]);
	double seconds = atof(argv[3]);
	if (argc > 4)
		state = argv[4];
	samples_us = malloc(SAMPLES * sizeof(*samples_us));
	for (unsigned i = 0; i < TEMPLATES; i++)
		compose(&templates[i], i);
	struct asker *askers = calloc(connections, sizeof(*askers));
	int epoll = epoll_create1(0);
	if (!samples_us || !askers || epoll < 0)
		return 1;
	for (size_t i = 0; i < connections; i++)
		dial(&askers[i], argv[1], epoll);
	int64_t from = now_ns() + WARM_UP_NS;
	int64_t until = from + (int64_t)(seconds * 1e9);
	/* No message of an earlier run: one that is known is not charged again. */
	uint64_t first = serial = (uint64_t)now_ns() / 1000;
	for (size_t i = 0; i < connections; i++)
		ask(&askers[i]);
	while (now_ns() < until) {
		int n = epoll_wait(epoll, events, 256, 100);
		for (int i = 0; i < n; i++)
			take_answer(events[i].data.ptr, from);
	}
	qsort(samples_us, samples, sizeof(*samples_us), compare);
	printf(
	    "{\"rate\": %.0f, \"p50\": %.3f, \"p99\": %.3f, \"max\": %.3f, \"ok\": %lu, "
	    "\"dunno\": %lu, \"others\": %lu, \"errors\": %lu, \"sent\": %llu}\n",
	    (double)samples / seconds, percentile_ms(0.5), percentile_ms(0.99),
	    percentile_ms(1), ok, dunno, others, errors,
	    (unsigned long long)(serial - first));
	return errors > 0;
}
