// SPDX-License-Identifier: Apache-2.0
// Times that come again, as cron writes them, in UTC: "minute hour day month weekday".
//
//   minute 0-59   hour 0-23   day 1-31   month 1-12 or JAN…DEC   weekday 0-7 or SUN…SAT (0 and 7 are Sunday)
//
// Each field is *, a value, a range (MON-FRI), either with a step (*/15, 10-50/20), or some of these joined by commas.
// When both day and weekday are restricted, a day that fits either of them does; a field that begins with * restricts
// nothing. @hourly, @daily, @weekly and @monthly stand for the usual.
#ifndef DEEPLENS_BASE_CRON_H
#define DEEPLENS_BASE_CRON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum { CRON_TEXT_MAX = 256 };

struct cron { // bits: 1 << value
    uint64_t minutes, hours, days, months, weekdays;
    bool any_day, any_weekday;
};

// ERR_INVALID says which field is wrong; also of what never comes (30 February).
int cron_parse(const char *text, struct cron *out, struct error *err);

// The first time behind `after_ms` (since 1970): a whole minute. INT64_MAX: none within the years that clocks show.
int64_t cron_next(const struct cron *cron, int64_t after_ms);

#endif
