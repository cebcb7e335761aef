/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/systemd.h"

int systemd_listen_fds(void)
{
	return 0;
}
