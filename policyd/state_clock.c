/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/state_clock.h"

#include <assert.h>
#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int64_t clock_ms(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

#define BOOT_DIGITS 32

static_assert(BOOT_DIGITS < STATE_BOOT_MAX, "a boot has room");

/* The digits of @text, with hyphens between them or not. "": there are not so many. */
static void copy_boot(const char *text, char boot[static STATE_BOOT_MAX])
{
	size_t digits = 0;

	for (; digits < BOOT_DIGITS && (isxdigit((unsigned char)*text) || *text == '-');
	     text++)
		if (*text != '-')
			boot[digits++] = *text;
	boot[digits == BOOT_DIGITS ? digits : 0] = '\0';
}

static void read_boot(char boot[static STATE_BOOT_MAX])
{
	const char *told = getenv("POSTERN_BOOT_ID");
	char text[64];

	if (told) {
		copy_boot(told, boot);
		return;
	}
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t len = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;
	if (fd >= 0)
		close(fd);
	text[len > 0 ? len : 0] = '\0';
	copy_boot(text, boot);
}

void state_clock_read(struct state_clock *ret)
{
	read_boot(ret->boot);
	ret->wall_ms = clock_ms(CLOCK_REALTIME);
	ret->steady_ms = clock_ms(CLOCK_BOOTTIME);
}

/* A clock that is kept right by NTP gains or loses so much in @steady_ms. */
static bool is_close(int64_t wall_ms, int64_t steady_ms)
{
	int64_t apart_ms = wall_ms - steady_ms;
	int64_t most_ms = 1000 + steady_ms / 1000;

	return apart_ms >= -most_ms && apart_ms <= most_ms;
}

void state_stop_set(
    const struct state_clock *saved, const struct state_clock *now,
    struct state_stop *ret)
{
	int64_t wall_ms = now->wall_ms - saved->wall_ms, passed_ms = wall_ms;
	int64_t steady_ms = now->steady_ms - saved->steady_ms;
	bool same_boot = saved->boot[0] != '\0' && strcmp(saved->boot, now->boot) == 0 &&
			 steady_ms >= 0;

	if (same_boot)
		passed_ms = is_close(wall_ms, steady_ms) ? wall_ms : steady_ms;
	else if (wall_ms < 0)
		passed_ms = 0;
	else if (wall_ms > now->steady_ms + STATE_OFF_MS)
		passed_ms = now->steady_ms + STATE_OFF_MS;
	*ret = (struct state_stop){
	    .then_ms = saved->wall_ms + passed_ms,
	    .now_ms = now->wall_ms,
	    .set_ms = same_boot ? wall_ms - passed_ms : 0,
	    .went_back = !same_boot && wall_ms < 0,
	};
}

/*
 * Buckets begin at multiples of the window. Where the bucket under way now would end
 * before the one then, what is counted goes to the bucket after it: until that begins it
 * counts as it does when a clock was set back, whole.
 */
void state_stop_move(
    const struct state_stop *stop, uint32_t window_s, struct window *window)
{
	int64_t window_ms = (int64_t)window_s * 1000;
	int64_t then_ms = stop->then_ms % window_ms, now_ms = stop->now_ms % window_ms;
	int64_t behind = (stop->then_ms - then_ms - window->start_ms) / window_ms;
	int64_t ahead = now_ms > then_ms ? 1 - behind : -behind;

	if (stop->then_ms == stop->now_ms)
		return;
	if (ahead > 1 || window->start_ms > stop->then_ms)
		ahead = 1;
	window->start_ms = stop->now_ms - now_ms + ahead * window_ms;
	if (window->start_ms < 0)
		window->start_ms = 0;
}
