/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/core/checks.h"
