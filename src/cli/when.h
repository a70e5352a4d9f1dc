// SPDX-License-Identifier: Apache-2.0
// Times and durations as people type them.
#ifndef DEEPLENS_CLI_WHEN_H
#define DEEPLENS_CLI_WHEN_H

#include <stdint.h>

#include "base/error.h"

// "90s" "15m" "2h" "7d" "500ms", in ms. -1 when it is none.
int when_duration(const char *text, int64_t *ms);

// RFC 3339, a date, or a duration back from `now_ms` ("2h"). ERR_USAGE names the option.
int when_time(const char *option, const char *text, int64_t now_ms, int64_t *ms, struct error *err);

#endif
