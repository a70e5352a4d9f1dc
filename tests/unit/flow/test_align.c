// SPDX-License-Identifier: Apache-2.0
// Frames of a query and of another video that look alike, made up: which stretch is a copy of which?
#include "flow/align.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { PAIRS_MAX = 4096, FRAMES_MAX = 200 };

struct votes {
    struct align_pair pairs[PAIRS_MAX];
    size_t count;
    int64_t at_ms[FRAMES_MAX];
    struct align_query query;
};

static struct votes *begin(int frames, int64_t apart_ms)
{
    struct votes *v = calloc(1, sizeof *v);
    assert_non_null(v);
    v->query =
        (struct align_query){.at_ms = v->at_ms, .count = frames, .duration_ms = frames * apart_ms, .slack_ms = 2500};
    for (int i = 0; i < frames; i++)
        v->at_ms[i] = i * apart_ms;
    return v;
}

static void add(struct votes *v, int query, int64_t at_ms, float score)
{
    if (at_ms >= 0 && v->count < PAIRS_MAX)
        v->pairs[v->count++] = (struct align_pair){query, at_ms, score};
}

static int64_t slot_of(double ms) // a stored frame stands in the middle of two seconds
{
    return llround(floor(ms / 2000) * 2000 + 1000);
}

// Frames [from, to) of the query are a copy from `offset_ms` on; nearer frames look more alike.
static void copy(struct votes *v, int from, int to, double speed, double offset_ms)
{
    for (int q = from; q < to; q++)
        for (int side = -1; side <= 1; side++) {
            double there = speed * (double)v->at_ms[q] + offset_ms;
            int64_t slot = slot_of(there + side * 2000);
            add(v, q, slot, (float)(0.98 - fabs(there - (double)slot) / 20000));
        }
}

// Every frame of the query looks somewhat like some others, in no order.
static void noise(struct votes *v, float score)
{
    srandom(7);
    for (int q = 0; q < v->query.count; q++)
        for (int i = 0; i < 8; i++)
            add(v, q, slot_of((double)(random() % 600000)), score - (float)(random() % 100) / 1000);
}

static bool find(struct votes *v, float least, struct align_match *out)
{
    return align_find(&v->query, v->pairs, v->count, least, out);
}

static void assert_near(double value, double wanted, double by)
{
    if (fabs(value - wanted) > by)
        fail_msg("%g is not within %g of %g", value, by, wanted);
}

static void an_excerpt_is_found_where_it_was(void **state)
{
    (void)state;
    struct align_match m;
    struct votes *v = begin(40, 500);
    noise(v, 0.7F);
    copy(v, 0, 40, 1, 123400);
    assert_true(find(v, 0.8F, &m));
    assert_near(m.speed, 1, 0);
    assert_near((double)m.from_ms, 123400, 500);
    assert_near((double)m.to_ms, 143400, 500);
    assert_int_equal(m.query_from_ms, 0);
    assert_int_equal(m.query_to_ms, 20000);
    assert_int_equal(m.frames, 40);
    free(v);
}

static void another_speed_is_told(void **state)
{
    (void)state;
    static const double speeds[] = {0.85, 0.9, 1.1, 1.2};
    for (size_t i = 0; i < sizeof speeds / sizeof *speeds; i++) {
        struct align_match m;
        struct votes *v = begin(80, 500);
        noise(v, 0.7F);
        copy(v, 0, 80, speeds[i], 60000);
        assert_true(find(v, 0.8F, &m));
        assert_near(m.speed, speeds[i], 0.02);
        assert_near((double)m.from_ms, 60000, 700);
        assert_near((double)m.to_ms, 60000 + speeds[i] * 40000, 700);
        free(v);
    }
}

static void a_part_of_the_query_is_told(void **state)
{
    (void)state;
    struct align_match m;
    struct votes *v = begin(60, 500);
    noise(v, 0.7F);
    copy(v, 20, 40, 1, 90000); // from 10 s on, which is 100 s of the video
    assert_true(find(v, 0.8F, &m));
    assert_near((double)m.query_from_ms, 10000, 1000);
    assert_near((double)m.query_to_ms, 19500, 1000);
    assert_near((double)m.from_ms, 100000, 1500);
    assert_near((double)m.to_ms, 109500, 1500);
    free(v);
}

static void what_looks_alike_in_no_order_is_no_copy(void **state)
{
    (void)state;
    struct align_match m = {.frames = 99};
    struct votes *v = begin(60, 500);
    noise(v, 0.79F);
    assert_false(find(v, 0.8F, &m));
    assert_int_equal(m.frames, 99); // untouched
    assert_false(align_find(&v->query, v->pairs, 0, 0, &m));
    v->count = 0;
    add(v, 3, 5000, 0.99F); // two frames of sixty are chance
    add(v, 4, 5500, 0.99F);
    assert_false(find(v, 0.5F, &m));
    v->count = 0;
    for (int q = 0; q < 60; q++)
        add(v, q, q * 500, 0.3F); // in order, and not alike
    assert_false(find(v, 0, &m));
    free(v);
}

static void a_query_of_one_frame_is_where_that_is(void **state)
{
    (void)state;
    struct align_match m;
    struct votes *v = begin(1, 500);
    add(v, 0, 44000, 0.97F);
    add(v, 0, 90000, 0.7F);
    assert_true(find(v, 0.8F, &m));
    assert_int_equal(m.from_ms, 44000);
    assert_int_equal(m.to_ms, 44500);
    assert_int_equal(m.frames, 1);
    free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_excerpt_is_found_where_it_was),
        cmocka_unit_test(another_speed_is_told),
        cmocka_unit_test(a_part_of_the_query_is_told),
        cmocka_unit_test(what_looks_alike_in_no_order_is_no_copy),
        cmocka_unit_test(a_query_of_one_frame_is_where_that_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
