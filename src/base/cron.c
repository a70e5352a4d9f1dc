// SPDX-License-Identifier: Apache-2.0
#include "base/cron.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/cleanup.h"

// A day of a month that is also some weekday comes again within 40 years, 29 February across a year such as 2100.
enum { MINUTE_MS = 60000, YEARS = 41, FIELDS = 5 };

static const char *const month_names[] = {"JAN", "FEB", "MAR", "APR", "MAY", "JUN",
                                          "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"};
static const char *const weekday_names[] = {"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"};

struct field {
    const char *name;
    int least, most;
    const char *const *words;
    int word_count, first; // the value of the first word
};

static const struct field fields[FIELDS] = {{"minute", 0, 59},
                                            {"hour", 0, 23},
                                            {"day", 1, 31},
                                            {"month", 1, 12, month_names, 12, 1},
                                            {"weekday", 0, 7, weekday_names, 7, 0}};

// --- Reading

static bool read_number(const char **at, int *out)
{
    int n = 0, digits = 0;
    for (; isdigit((unsigned char)**at); (*at)++) {
        if (++digits > 3)
            return false;
        n = n * 10 + (**at - '0');
    }
    *out = n;
    return digits > 0;
}

static bool read_value(const struct field *field, const char **at, int *out)
{
    for (int i = 0; i < field->word_count; i++)
        if (strncasecmp(*at, field->words[i], 3) == 0) {
            *at += 3;
            *out = field->first + i;
            return true;
        }
    return read_number(at, out) && *out >= field->least && *out <= field->most;
}

// One part of a list: "*", "5", "1-5", any of them with "/2".
static bool read_part(const struct field *field, const char **at, uint64_t *bits)
{
    int from = field->least, to = field->most, step = 1;
    bool single = false;
    if (**at == '*') {
        ++*at;
    } else {
        if (!read_value(field, at, &from))
            return false;
        single = **at != '-';
        to = from;
        if (!single && (++*at, !read_value(field, at, &to) || to < from))
            return false;
    }
    if (**at == '/') {
        ++*at;
        if (!read_number(at, &step) || step < 1 || single)
            return false;
    }
    for (int i = from; i <= to; i += step)
        *bits |= UINT64_C(1) << i;
    return true;
}

static bool read_field(const struct field *field, const char **at, uint64_t *out)
{
    uint64_t bits = 0;
    do {
        if (!read_part(field, at, &bits))
            return false;
    } while (**at == ',' && (++*at, true));
    *out = bits;
    return **at == 0 || **at == ' ' || **at == '\t';
}

static const char *spelt_out(const char *text)
{
    static const char *const names[][2] = {
        {"@hourly", "0 * * * *"}, {"@daily", "0 0 * * *"}, {"@weekly", "0 0 * * 0"}, {"@monthly", "0 0 1 * *"}};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcasecmp(text, names[i][0]) == 0)
            return names[i][1];
    return text;
}

static int read_all(const char *text, struct cron *cron, struct error *err)
{
    uint64_t *const bits[FIELDS] = {&cron->minutes, &cron->hours, &cron->days, &cron->months, &cron->weekdays};
    const char *at = spelt_out(text);
    for (int i = 0; i < FIELDS; i++) {
        at += strspn(at, " \t");
        if (i == 2)
            cron->any_day = *at == '*';
        if (i == 4)
            cron->any_weekday = *at == '*';
        if (!*at || !read_field(&fields[i], &at, bits[i]))
            return error_set(err, ERR_INVALID,
                             "A schedule has five fields, minute hour day month weekday, such as \"30 2 * * *\": its "
                             "%s cannot be read",
                             fields[i].name);
    }
    at += strspn(at, " \t");
    if (*at)
        return error_set(err, ERR_INVALID, "A schedule has five fields, and this one has more");
    if (cron->weekdays & 1U << 7)
        cron->weekdays = (cron->weekdays & ~(UINT64_C(1) << 7)) | 1;
    return 0;
}

int cron_parse(const char *text, struct cron *out, struct error *err)
{
    struct cron cron = {0};
    if (strlen(text) >= CRON_TEXT_MAX)
        return error_set(err, ERR_INVALID, "A schedule has less than %d characters", CRON_TEXT_MAX);
    if (read_all(text, &cron, err) < 0)
        return -1;
    if (cron_next(&cron, 0) == INT64_MAX)
        return error_set(err, ERR_INVALID, "No day is ever like that: the schedule would never begin anything");
    *out = cron;
    return 0;
}

// --- The next time

static bool has(uint64_t bits, int value)
{
    return bits >> value & 1;
}

static bool day_fits(const struct cron *c, const struct tm *t)
{
    bool day = has(c->days, t->tm_mday), weekday = has(c->weekdays, t->tm_wday);
    return c->any_day || c->any_weekday ? day && weekday : day || weekday;
}

// The time itself when it fits, else the next one at which a larger unit begins.
static time_t step_on(const struct cron *c, struct tm *t)
{
    if (!has(c->months, t->tm_mon + 1)) {
        t->tm_mon++;
        t->tm_mday = 1;
        t->tm_hour = t->tm_min = 0;
    } else if (!day_fits(c, t)) {
        t->tm_mday++;
        t->tm_hour = t->tm_min = 0;
    } else if (!has(c->hours, t->tm_hour)) {
        t->tm_hour++;
        t->tm_min = 0;
    } else if (!has(c->minutes, t->tm_min)) {
        t->tm_min++;
    }
    return timegm(t);
}

int64_t cron_next(const struct cron *cron, int64_t after_ms)
{
    struct tm t;
    time_t at = (time_t)(after_ms >= 0 ? after_ms / MINUTE_MS + 1 : -(-after_ms + MINUTE_MS - 1) / MINUTE_MS + 1) * 60;
    if (!gmtime_r(&at, &t))
        return INT64_MAX;
    for (const int last = t.tm_year + YEARS; t.tm_year < last;) {
        time_t next = step_on(cron, &t);
        if (next == at)
            return (int64_t)at * 1000;
        at = next;
        if (!gmtime_r(&at, &t))
            break;
    }
    return INT64_MAX;
}
