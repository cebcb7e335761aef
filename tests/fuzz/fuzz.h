/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* What libFuzzer, or driver.c, calls for each input. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
