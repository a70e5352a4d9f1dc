// SPDX-License-Identifier: Apache-2.0
// The set of recent ids: takes once, forgets the oldest, keeps the rest.
#include "flow/recent.h"

#include <stdio.h>
#include <string.h>

#include "base/id.h"
#include "rig.h"

static const char *name(int i)
{
    static char text[ID_MAX];
    snprintf(text, sizeof text, "evt_%d", i);
    return text;
}

static void test_an_id_is_taken_once(void **state)
{
    struct recent *r = recent_new();
    assert_false(recent_take(r, "evt_1"));
    recent_add(r, "evt_1");
    recent_add(r, "evt_1"); // is one all the same
    assert_true(recent_take(r, "evt_1"));
    assert_false(recent_take(r, "evt_1"));
    recent_free(r);
}

static void test_the_oldest_are_forgotten(void **state)
{
    enum { MANY = 20000 };
    struct recent *r = recent_new();
    for (int i = 0; i < MANY; i++)
        recent_add(r, name(i));
    int kept = 0, first = -1;
    for (int i = 0; i < MANY; i++)
        if (recent_take(r, name(i))) {
            first = first < 0 ? i : first;
            kept++;
        }
    assert_in_range(kept, 1000, MANY - 1);
    assert_int_equal(first, MANY - kept); // those that came last, all of them
    for (int i = 0; i < MANY; i++)
        assert_false(recent_take(r, name(i)));
    recent_free(r);
}

static void test_what_is_no_id_is_not_kept(void **state)
{
    char longest[ID_MAX + 1];
    struct recent *r = recent_new();
    memset(longest, 'x', ID_MAX);
    longest[ID_MAX] = 0;
    recent_add(r, longest);
    recent_add(r, "");
    assert_false(recent_take(r, longest));
    assert_false(recent_take(r, ""));
    longest[ID_MAX - 1] = 0;
    recent_add(r, longest);
    assert_true(recent_take(r, longest));
    recent_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_id_is_taken_once),
        cmocka_unit_test(test_the_oldest_are_forgotten),
        cmocka_unit_test(test_what_is_no_id_is_not_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
