// SPDX-License-Identifier: Apache-2.0
// The states of groups, by the rules, over scripted samples.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "flow/lag.h"

struct step {
    int64_t committed, end;
};

static enum lag_state note(struct lag_history *h, const char *group, int32_t partition, struct step s, int64_t now_ms)
{
    struct elog_group_partition p = {.topic = "t",
                                     .partition = partition,
                                     .committed = s.committed,
                                     .end = s.end,
                                     .lag = s.end - (s.committed > 0 ? s.committed : 0)};
    const struct elog_group_info info = {.name = group, .partitions = &p, .partition_count = 1};
    enum lag_state state;
    lag_note(h, &info, now_ms, 1000, &state);
    return state;
}

// The state after `count` samples, a second apart, each from the one before by `by`.
static enum lag_state after(int count, struct step first, struct step by)
{
    struct lag_history *h = lag_history_new();
    enum lag_state state = LAG_OK;
    for (int i = 0; i < count; i++)
        state = note(h, "g", 0, (struct step){first.committed + i * by.committed, first.end + i * by.end}, 1000 * i);
    lag_history_free(h);
    return state;
}

static void test_without_lag_all_is_well(void **state)
{
    assert_int_equal(after(1, (struct step){5, 5}, (struct step){0, 0}), LAG_OK);
    assert_int_equal(after(30, (struct step){5, 5}, (struct step){0, 0}), LAG_OK);
    assert_int_equal(after(30, (struct step){-1, 0}, (struct step){0, 0}), LAG_OK);
}

static void test_stalled(void **state)
{
    const struct step first = {5, 9}, stay = {0, 0};
    assert_int_equal(after(1, first, stay), LAG_UNKNOWN);
    assert_int_equal(after(LAG_WINDOW - 1, first, stay), LAG_UNKNOWN);
    assert_int_equal(after(LAG_WINDOW, first, stay), LAG_STALLED);
    assert_int_equal(after(50, first, stay), LAG_STALLED);                        // nothing comes either: not stopped
    assert_int_equal(after(LAG_WINDOW, (struct step){-1, 3}, stay), LAG_STALLED); // never committed
}

static void test_stopped(void **state)
{
    const struct step first = {5, 9}, grow = {0, 3};
    assert_int_equal(after(LAG_WINDOW, first, grow), LAG_STALLED);
    assert_int_equal(after(2 * LAG_WINDOW - 2, first, grow), LAG_STALLED);
    assert_int_equal(after(2 * LAG_WINDOW, first, grow), LAG_STOPPED);
}

static void test_behind(void **state)
{
    assert_int_equal(after(LAG_WINDOW, (struct step){0, 10}, (struct step){1, 4}), LAG_BEHIND);
    assert_int_equal(after(LAG_WINDOW, (struct step){0, 10}, (struct step){2, 2}), LAG_OK);  // keeps up
    assert_int_equal(after(LAG_WINDOW, (struct step){0, 100}, (struct step){3, 2}), LAG_OK); // gets less
}

static void test_one_moment_without_lag_is_enough(void **state)
{
    struct lag_history *h = lag_history_new();
    int64_t now = 0;
    assert_int_equal(note(h, "g", 0, (struct step){9, 9}, now += 1000), LAG_OK);
    for (int i = 1; i < LAG_WINDOW; i++)
        assert_int_equal(note(h, "g", 0, (struct step){9, 20}, now += 1000), LAG_OK);
    assert_int_equal(note(h, "g", 0, (struct step){9, 20}, now += 1000), LAG_STALLED);
    assert_int_equal(note(h, "g", 0, (struct step){10, 20}, now += 1000), LAG_OK); // it moves again
    assert_int_equal(note(h, "g", 0, (struct step){20, 20}, now), LAG_OK);
    lag_history_free(h);
}

static void test_rewound(void **state)
{
    struct lag_history *h = lag_history_new();
    note(h, "g", 0, (struct step){9, 10}, 0);
    assert_int_equal(note(h, "g", 0, (struct step){2, 10}, 1000), LAG_REWOUND);
    lag_history_free(h);
}

static void test_looking_more_often_adds_no_samples(void **state)
{
    struct lag_history *h = lag_history_new();
    for (int i = 0; i < 500; i++)
        assert_int_equal(note(h, "g", 0, (struct step){1, 5}, i), LAG_UNKNOWN);
    lag_history_free(h);
}

static void test_partitions_and_groups_are_told_apart(void **state)
{
    struct lag_history *h = lag_history_new();
    for (int i = 0; i < LAG_WINDOW; i++) {
        note(h, "a", 0, (struct step){1, 5}, 1000 * i);
        note(h, "a", 1, (struct step){i, i + 3}, 1000 * i);
        note(h, "b", 0, (struct step){5, 5}, 1000 * i);
    }
    assert_int_equal(note(h, "a", 0, (struct step){1, 5}, 9000), LAG_STALLED);
    assert_int_equal(note(h, "a", 1, (struct step){9, 12}, 9000), LAG_OK);
    assert_int_equal(note(h, "b", 0, (struct step){5, 5}, 9000), LAG_OK);
    lag_history_free(h);
}

static void test_g8_the_history_is_bounded(void **state)
{
    struct lag_history *h = lag_history_new();
    for (int32_t i = 0; i < LAG_TRACKS_MAX + 100; i++)
        assert_int_equal(note(h, "g", i, (struct step){1, 5}, i), LAG_UNKNOWN);
    lag_history_free(h);
}

static void test_a_rate_is_of_all_partitions_over_the_window(void **state)
{
    struct lag_history *h = lag_history_new();
    assert_true(lag_rate(h, "g") < 0); // nothing is known
    note(h, "g", 0, (struct step){-1, 100}, 0);
    assert_true(lag_rate(h, "g") < 0);
    note(h, "g", 1, (struct step){10, 100}, 0);
    note(h, "other", 0, (struct step){0, 100}, 0);
    note(h, "other", 0, (struct step){90, 100}, 1000);
    note(h, "g", 0, (struct step){20, 100}, 2000); // 10 a second
    note(h, "g", 1, (struct step){20, 100}, 2000); // 5 a second
    assert_float_equal(lag_rate(h, "g"), 15, 1e-9);
    note(h, "g", 1, (struct step){20, 100}, 4000); // 2.5 a second
    assert_float_equal(lag_rate(h, "g"), 12.5, 1e-9);
    note(h, "g", 0, (struct step){0, 100}, 3000);
    note(h, "g", 1, (struct step){0, 100}, 5000);
    assert_true(lag_rate(h, "g") < 0); // somebody put it back
    lag_history_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_lag_all_is_well),
        cmocka_unit_test(test_stalled),
        cmocka_unit_test(test_stopped),
        cmocka_unit_test(test_behind),
        cmocka_unit_test(test_one_moment_without_lag_is_enough),
        cmocka_unit_test(test_rewound),
        cmocka_unit_test(test_looking_more_often_adds_no_samples),
        cmocka_unit_test(test_partitions_and_groups_are_told_apart),
        cmocka_unit_test(test_a_rate_is_of_all_partitions_over_the_window),
        cmocka_unit_test(test_g8_the_history_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
