// SPDX-License-Identifier: Apache-2.0
// Clocks and RFC 3339.
#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

int64_t clock_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t clock_mono_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

void clock_sleep_ms(int64_t ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000};
    while (nanosleep(&t, &t) < 0 && errno == EINTR)
        ;
}

const char *clock_rfc3339(int64_t ms, char out[CLOCK_TEXT])
{
    int64_t rest = ((ms % 1000) + 1000) % 1000;
    time_t seconds = (time_t)((ms - rest) / 1000);
    struct tm tm;
    if (!gmtime_r(&seconds, &tm))
        memset(&tm, 0, sizeof tm);
    size_t used = strftime(out, CLOCK_TEXT, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + used, CLOCK_TEXT - used, ".%03dZ", (int)rest);
    return out;
}

// Reads the fraction behind the seconds as milliseconds; returns what follows it.
static const char *parse_fraction(const char *p, int64_t *ms)
{
    if (*p != '.')
        return p;
    int64_t scale = 100;
    for (p++; *p >= '0' && *p <= '9'; p++, scale /= 10)
        *ms += (*p - '0') * scale;
    return p;
}

int clock_parse(const char *text, int64_t *ms)
{
    struct tm tm = {0};
    const char *p = text ? strptime(text, "%Y-%m-%d", &tm) : NULL;
    if (!p)
        return -1;
    int64_t fraction = 0, offset = 0;
    if (*p == 'T' || *p == 't' || *p == ' ') {
        p = strptime(p + 1, "%H:%M:%S", &tm);
        if (!p)
            return -1;
        p = parse_fraction(p, &fraction);
        int hours, minutes, used = 0;
        if (*p == 'Z' || *p == 'z') {
            p++;
        } else if ((*p == '+' || *p == '-') && sscanf(p + 1, "%2d:%2d%n", &hours, &minutes, &used) == 2 && used == 5) {
            offset = (*p == '-' ? -1 : 1) * (hours * 60 + minutes) * 60000LL;
            p += 6;
        }
    }
    if (*p)
        return -1;
    *ms = (int64_t)timegm(&tm) * 1000 + fraction - offset;
    return 0;
}
