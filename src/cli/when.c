// SPDX-License-Identifier: Apache-2.0
// Times and durations as people type them.
#include "cli/when.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"

int when_duration(const char *text, int64_t *ms)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno || end == text || number < 0 || *text == '+')
        return -1;
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (strcmp(end, units[i].name) == 0)
            return __builtin_mul_overflow(number, units[i].ms, ms) ? -1 : 0;
    return -1;
}

int when_time(const char *option, const char *text, int64_t now_ms, int64_t *ms, struct error *err)
{
    int64_t back, at;
    if (when_duration(text, &back) == 0 && back < now_ms)
        at = now_ms - back;
    else if (clock_parse(text, &at) < 0 || at <= 0)
        return error_set(err, ERR_USAGE,
                         "--%s takes a time such as 2026-11-22T10:30:00Z, or 2h for two hours ago, not "
                         "\"%.80s\"",
                         option, text);
    *ms = at;
    return 0;
}
