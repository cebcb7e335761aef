/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/ip.h"
