// SPDX-License-Identifier: Apache-2.0
// Schedules as cron writes them: what is read, and when the next time is.
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cron.h"

static int64_t at(const char *text)
{
    int64_t ms = 0;
    assert_int_equal(clock_parse(text, &ms), 0);
    return ms;
}

static struct cron parsed(const char *text)
{
    struct cron cron;
    struct error err = {0};
    if (cron_parse(text, &cron, &err) < 0)
        fail_msg("\"%s\": %s", text, err.message);
    return cron;
}

static void finds_the_next_time(void **state)
{
    static const struct {
        const char *cron, *after, *next;
    } cases[] = {
        {"30 2 * * *", "2026-11-22T02:29:59.999Z", "2026-11-22T02:30:00Z"},
        {"30 2 * * *", "2026-11-22T02:30:00Z", "2026-11-23T02:30:00Z"}, // behind it, never at it
        {"30 2 * * *", "2026-12-31T03:00:00Z", "2027-01-01T02:30:00Z"},
        {"* * * * *", "2026-11-22T10:30:15Z", "2026-11-22T10:31:00Z"},
        {"*/15 * * * *", "2026-11-22T10:46:00Z", "2026-11-22T11:00:00Z"},
        {"10-50/20 * * * *", "2026-11-22T10:10:00Z", "2026-11-22T10:30:00Z"},
        {"10-50/20 * * * *", "2026-11-22T10:50:00Z", "2026-11-22T11:10:00Z"},
        {"5,40 8,20 * * *", "2026-11-22T08:05:00Z", "2026-11-22T08:40:00Z"},
        {"5,40 8,20 * * *", "2026-11-22T08:40:00Z", "2026-11-22T20:05:00Z"},
        {"0 0 * * MON", "2026-11-22T12:00:00Z", "2026-11-23T00:00:00Z"}, // a Sunday
        {"0 0 * * mon-fri", "2026-11-27T12:00:00Z", "2026-11-30T00:00:00Z"},
        {"0 0 * * 7", "2026-11-23T00:00:00Z", "2026-11-29T00:00:00Z"},
        {"0 0 * * 0", "2026-11-23T00:00:00Z", "2026-11-29T00:00:00Z"},
        {"0 0 * * 5-7", "2026-11-28T00:00:00Z", "2026-11-29T00:00:00Z"},
        {"0 0 31 * *", "2026-11-22T00:00:00Z", "2026-12-31T00:00:00Z"},
        {"0 0 29 2 *", "2026-11-22T00:00:00Z", "2028-02-29T00:00:00Z"},
        {"0 0 29 2 *", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z"}, // 2100 has none
        {"0 0 1 jan,JUL *", "2026-11-22T00:00:00Z", "2027-01-01T00:00:00Z"},
        {"0 0 13 * FRI", "2026-11-22T00:00:00Z", "2026-11-27T00:00:00Z"},  // either of them
        {"0 0 13 * FRI", "2026-12-12T00:00:00Z", "2026-12-13T00:00:00Z"},  // a Sunday
        {"0 0 */2 * FRI", "2026-11-22T00:00:00Z", "2026-11-27T00:00:00Z"}, // both: it begins with *
        {"0 0 1-31 * FRI", "2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z"},
        {"0 2 */29 FEB MON", "2027-02-01T02:00:00Z", "2038-02-01T02:00:00Z"}, // eleven years on
        {"@daily", "2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z"},
        {"@hourly", "2026-11-22T00:00:00Z", "2026-11-22T01:00:00Z"},
        {"@weekly", "2026-11-22T00:00:00Z", "2026-11-29T00:00:00Z"},
        {"@monthly", "2026-11-22T00:00:00Z", "2026-12-01T00:00:00Z"},
        {"  0\t0  *  *  * ", "2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[CLOCK_TEXT];
        struct cron cron = parsed(cases[i].cron);
        int64_t next = cron_next(&cron, at(cases[i].after));
        if (next != at(cases[i].next))
            fail_msg("%s after %s: %s", cases[i].cron, cases[i].after, clock_rfc3339(next, text));
    }
}

static void refuses_what_is_no_schedule(void **state)
{
    static const char *const bad[] = {
        "",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 0 *",
        "* * * 13 *",
        "* * * * 8",
        "-1 * * * *",
        "5-1 * * * *",
        "*/0 * * * *",
        "5/2 * * * *",
        "1, * * * *",
        ",1 * * * *",
        "1-2-3 * * *",
        "a * * * *",
        "* * * JANU *",
        "0 0 30 2 *",
        "0 0 31 4,6 *",
        "@reboot",
        "1000 * * * *",
        "*/99999999999999999999 * * * *",
        "0 0 * * MON/2",
        "5 * * * *x",
        "**  * * * *",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct cron cron;
        struct error err = {0};
        if (cron_parse(bad[i], &cron, &err) == 0)
            fail_msg("\"%s\" was taken", bad[i]);
        assert_int_equal(err.code, ERR_INVALID);
    }
}

// Against going minute by minute.
static void agrees_with_looking_at_every_minute(void **state)
{
    static const char *const texts[] = {"7 3 * * *", "*/7 */5 * * *", "0 12 1,15 * TUE", "59 23 28-31 * *",
                                        "3 4 5 6 *"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct cron cron = parsed(texts[i]);
        int64_t from = at("2027-02-25T00:00:30Z"), next = cron_next(&cron, from), found = INT64_MAX;
        for (int64_t ms = from / 60000 * 60000 + 60000; found == INT64_MAX; ms += 60000)
            if (cron_next(&cron, ms - 1) == ms)
                found = ms;
        assert_int_equal(next, found);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_next_time),
        cmocka_unit_test(refuses_what_is_no_schedule),
        cmocka_unit_test(agrees_with_looking_at_every_minute),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
