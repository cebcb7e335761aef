/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdint.h>

/* Where a configured thing was written. @file is owned by the snapshot it belongs to. */
struct where {
	const char *file;
	uint32_t line;   /* from 1; 0: a built-in default */
	uint32_t column; /* from 1; 0: not known */
};
