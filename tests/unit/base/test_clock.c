// SPDX-License-Identifier: Apache-2.0
// RFC 3339 both ways, and clocks that run forward.
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"

static void writes_rfc3339(void **state)
{
    char text[CLOCK_TEXT];
    assert_string_equal(clock_rfc3339(0, text), "1970-01-01T00:00:00.000Z");
    assert_string_equal(clock_rfc3339(1795343400123, text), "2026-11-22T10:30:00.123Z");
    assert_string_equal(clock_rfc3339(951782400000, text), "2000-02-29T00:00:00.000Z");
    assert_string_equal(clock_rfc3339(-1, text), "1969-12-31T23:59:59.999Z");
}

static void reads_rfc3339(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2026-11-22T10:30:00.123Z", 1795343400123},
        {"2026-11-22T10:30:00.1239999Z", 1795343400123},
        {"2026-11-22T10:30:00.1Z", 1795343400100},
        {"2026-11-22t10:30:00z", 1795343400000},
        {"2026-11-22 10:30:00Z", 1795343400000},
        {"2026-11-22T12:30:00+02:00", 1795343400000},
        {"2026-11-22T05:00:00.5-05:30", 1795343400500},
        {"2026-11-22", 1795305600000},
        {"2026-11-22T10:30:00", 1795343400000},
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        int64_t ms = -5;
        if (clock_parse(good[i].text, &ms) < 0 || ms != good[i].ms)
            fail_msg("%s gave %" PRId64, good[i].text, ms);
    }
}

static void refuses_what_is_no_time(void **state)
{
    static const char *const bad[] = {
        "",
        "now",
        "2026",
        "2026-13-01",
        "2026-11-22T",
        "2026-11-22T10:30",
        "2026-11-22T25:00:00Z",
        "2026-11-22T10:30:00Zx",
        "2026-11-22T10:30:00+2",
        "2026-11-22T10:30:00+02",
        "2026-11-22x",
        "1795343400123",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int64_t ms = -5;
        if (clock_parse(bad[i], &ms) == 0 || ms != -5)
            fail_msg("\"%s\" was read", bad[i]);
    }
    int64_t ms;
    assert_int_equal(clock_parse(NULL, &ms), -1);
}

static void what_is_written_is_read(void **state)
{
    char text[CLOCK_TEXT];
    for (int64_t ms = -62135596800000; ms < 253402300799999; ms += 777777777777) {
        int64_t again;
        assert_int_equal(clock_parse(clock_rfc3339(ms, text), &again), 0);
        assert_true(again == ms);
    }
}

static void runs_forward(void **state)
{
    int64_t before = clock_mono_us();
    clock_sleep_ms(2);
    assert_true(clock_mono_us() - before >= 2000);
    assert_true(clock_now_ms() > 1600000000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_rfc3339),
        cmocka_unit_test(reads_rfc3339),
        cmocka_unit_test(refuses_what_is_no_time),
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(runs_forward),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
