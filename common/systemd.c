/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/systemd.h"

#include <systemd/sd-daemon.h>

_Static_assert(SYSTEMD_FIRST == SD_LISTEN_FDS_START, "sd_listen_fds(3)");

int systemd_listen_fds(void)
{
	return sd_listen_fds(1);
}
