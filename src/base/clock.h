// SPDX-License-Identifier: Apache-2.0
// Time: wall clock in milliseconds since 1970 (what is stored), monotonic microseconds (what is measured),
// and RFC 3339 text in UTC (what is shown).
#ifndef DEEPLENS_BASE_CLOCK_H
#define DEEPLENS_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

enum { CLOCK_TEXT = 32 }; // room for "2026-11-22T10:30:00.123Z" and its NUL

int64_t clock_now_ms(void);
int64_t clock_mono_us(void);
void clock_sleep_ms(int64_t ms);

// Writes "2026-11-22T10:30:00.123Z"; returns `out`.
const char *clock_rfc3339(int64_t ms, char out[CLOCK_TEXT]);

// Reads RFC 3339 (any offset, optional fraction), a bare date, or returns -1.
int clock_parse(const char *text, int64_t *ms);

#endif
