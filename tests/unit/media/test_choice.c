// SPDX-License-Identifier: Apache-2.0
// The choice of frames, on looks that are made up: 25 pictures a second, whose brightness runs across as a scene says.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "media/video/choice.h"

enum { STEP_MS = 40, KEPT_MAX = 4096 };

static const struct choice_rules usual = {.interval_ms = 2000, .per_minute = 60, .max_frames = 1000};

struct run {
    struct choice choice;
    int64_t held, spare; // times; -1: none
    int64_t kept[KEPT_MAX];
    size_t count;
    struct choice_mark marks[KEPT_MAX];
    size_t marks_count;
};

// A picture of a scene: `seed` says what is in it, `shift` how far it has moved.
static struct look look_of(int64_t ms, int seed, double shift, float sharp)
{
    struct look look = {.time_ms = ms, .sharp = sharp};
    for (int y = 0; y < LOOK_SIDE; y++)
        for (int x = 0; x < LOOK_SIDE; x++)
            look.luma[y * LOOK_SIDE + x] =
                (uint8_t)(128 + 100 * sin((x + shift) * (0.3 + seed * 0.37) + y * (0.2 + seed * 0.11)));
    return look;
}

static struct look flat(int64_t ms, int brightness)
{
    struct look look = {.time_ms = ms, .sharp = 0.3F};
    memset(look.luma, brightness, sizeof look.luma);
    return look;
}

static void begin(struct run *r, const struct choice_rules *rules, const struct choice_mark *from)
{
    memset(r, 0, sizeof *r);
    r->held = r->spare = -1;
    choice_begin(&r->choice, rules, from);
}

static void keep(struct run *r)
{
    assert_true(r->held >= 0);
    assert_true(r->count < KEPT_MAX);
    r->kept[r->count++] = r->held;
    r->held = -1;
}

static void feed(struct run *r, struct look look)
{
    unsigned what = choice_feed(&r->choice, &look);
    if (what & CHOICE_KEEP)
        keep(r);
    if (what & CHOICE_MARK)
        r->marks[r->marks_count++] = r->choice.mark;
    if (what & CHOICE_HOLD)
        r->held = look.time_ms;
    if (what & CHOICE_HOLD_SPARE)
        r->spare = look.time_ms;
}

static void end(struct run *r)
{
    if (choice_end(&r->choice) & CHOICE_KEEP)
        keep(r);
}

// A scene that stands still from … to.
static void still(struct run *r, int seed, int64_t from, int64_t to)
{
    for (int64_t ms = from; ms < to; ms += STEP_MS)
        feed(r, look_of(ms, seed, 0, 0.3F));
}

// A scene that moves by a cell in `pace` pictures.
static void moving(struct run *r, int seed, int pace, int64_t from, int64_t to)
{
    for (int64_t ms = from; ms < to; ms += STEP_MS)
        feed(r, look_of(ms, seed, (double)ms / STEP_MS / pace, 0.3F));
}

static void a_scene_that_stands_still_gives_one_frame(void **state)
{
    static struct run r;
    begin(&r, &usual, NULL);
    still(&r, 1, 0, 20000);
    end(&r);
    assert_int_equal(r.count, 1);
    assert_int_equal(r.kept[0], 0);
}

static void each_shot_gives_a_frame(void **state)
{
    static struct run r;
    begin(&r, &usual, NULL);
    for (int shot = 0; shot < 8; shot++)
        still(&r, shot, shot * 600, (shot + 1) * 600);
    end(&r);
    assert_int_equal(r.count, 8);
    for (int shot = 0; shot < 8; shot++)
        assert_int_equal(r.kept[shot] / 600, shot);
}

static void what_moves_gives_a_frame_every_interval(void **state)
{
    static struct run r;
    begin(&r, &usual, NULL);
    moving(&r, 1, 12, 0, 20000);
    end(&r);
    assert_int_equal(r.count, 10);
    for (size_t i = 0; i < r.count; i++)
        assert_int_equal(r.kept[i] / 2000, i);
}

static void the_sharpest_of_a_piece_is_taken(void **state)
{
    static struct run r;
    begin(&r, &usual, NULL);
    for (int64_t ms = 0; ms < 2000; ms += STEP_MS)
        feed(&r, look_of(ms, 1, 0, ms == 1200 ? 0.5F : 0.1F));
    end(&r);
    assert_int_equal(r.count, 1);
    assert_int_equal(r.kept[0], 1200);
}

static void black_flat_and_blurred_pictures_are_passed_over(void **state)
{
    static struct run r;
    begin(&r, &usual, NULL);
    for (int64_t ms = 0; ms < 4000; ms += STEP_MS)
        feed(&r, flat(ms, ms < 2000 ? 2 : 180));
    for (int64_t ms = 4000; ms < 6000; ms += STEP_MS)
        feed(&r, look_of(ms, 2, 0, 0.005F));
    still(&r, 3, 6000, 8000);
    end(&r);
    assert_int_equal(r.count, 1);
    assert_in_range(r.kept[0], 6000, 7999);
}

static void a_video_of_nothing_else_has_a_spare_one(void **state)
{
    static struct run r;
    begin(&r, &usual, NULL);
    for (int64_t ms = 0; ms < 2000; ms += STEP_MS)
        feed(&r, flat(ms, 2));
    for (int64_t ms = 2000; ms < 4000; ms += STEP_MS)
        feed(&r, look_of(ms, 2, 0, ms == 3000 ? 0.015F : 0.005F));
    end(&r);
    assert_int_equal(r.count, 0);
    assert_int_equal(r.spare, 3000);
}

static void g8_no_more_than_the_limits(void **state)
{
    static struct run r;
    const struct choice_rules few = {.interval_ms = 100, .per_minute = 5, .max_frames = 12};
    begin(&r, &few, NULL);
    for (int shot = 0; shot < 600; shot++)
        still(&r, shot % 50, shot * 400, (shot + 1) * 400);
    assert_true(choice_full(&r.choice));
    end(&r);
    assert_int_equal(r.count, 12);
    int minutes[8] = {0};
    for (size_t i = 0; i < r.count; i++)
        minutes[r.kept[i] / 60000]++;
    assert_int_equal(minutes[0], 5);
    assert_int_equal(minutes[1], 5);
    assert_int_equal(minutes[2], 2);
}

static void a_film(struct run *r, int64_t from)
{
    for (int64_t ms = from; ms < 30000; ms += STEP_MS) {
        int shot = (int)(ms / 2700);
        feed(r, look_of(ms, shot, (int)(ms / STEP_MS / 9), (float)(0.1 + 0.05 * (double)(ms / STEP_MS % 17))));
    }
    end(r);
}

static void g3_who_begins_anew_at_a_mark_chooses_the_same(void **state)
{
    static struct run whole, part;
    begin(&whole, &usual, NULL);
    a_film(&whole, 0);
    assert_true(whole.count > 12);
    assert_true(whole.marks_count > 10);
    for (size_t i = 0; i < whole.marks_count; i++) {
        const struct choice_mark *mark = &whole.marks[i];
        begin(&part, &usual, mark);
        a_film(&part, mark->at_ms);
        assert_int_equal(mark->kept + part.count, whole.count);
        for (size_t k = 0; k < part.count; k++)
            assert_int_equal(part.kept[k], whole.kept[(size_t)mark->kept + k]);
    }
}

static void times_that_stand_still_do_no_harm(void **state)
{
    static struct run r;
    begin(&r, &usual, NULL);
    for (int i = 0; i < 100; i++)
        feed(&r, look_of(5000, 1, i, 0.3F));
    end(&r);
    assert_in_range(r.count, 1, 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_scene_that_stands_still_gives_one_frame),
        cmocka_unit_test(each_shot_gives_a_frame),
        cmocka_unit_test(what_moves_gives_a_frame_every_interval),
        cmocka_unit_test(the_sharpest_of_a_piece_is_taken),
        cmocka_unit_test(black_flat_and_blurred_pictures_are_passed_over),
        cmocka_unit_test(a_video_of_nothing_else_has_a_spare_one),
        cmocka_unit_test(g8_no_more_than_the_limits),
        cmocka_unit_test(g3_who_begins_anew_at_a_mark_chooses_the_same),
        cmocka_unit_test(times_that_stand_still_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
