// SPDX-License-Identifier: Apache-2.0
// The choice of frames: see choice.h. The thresholds are on brightness of 0 … 255.
#include "media/video/choice.h"

#include <stdlib.h>
#include <string.h>

enum {
    DARK = 28,        // mean brightness of a black picture, at most …
    DARK_SPREAD = 12, // … with no more contrast than this
    FLAT_SPREAD = 4,  // standard deviation of a picture without anything in it
    CUT = 22,         // change from one picture to the next that makes a cut …
    CUT_TIMES = 3,    // … when it is also so many times the change before
    SAME = 4,         // difference from what was kept last below which nothing new is seen
};
static const float BLURRED = 0.02F; // sharpness below which a picture is passed over
static const float SHARPER = 1.15F; // a later picture must be so much sharper to be taken instead

int look_difference(const uint8_t a[LOOK_SIZE], const uint8_t b[LOOK_SIZE])
{
    int sum = 0;
    for (int i = 0; i < LOOK_SIZE; i++)
        sum += abs(a[i] - b[i]);
    return sum / LOOK_SIZE;
}

static void measure(const uint8_t luma[LOOK_SIZE], int *mean, int *variance)
{
    int sum = 0, squares = 0;
    for (int i = 0; i < LOOK_SIZE; i++) {
        sum += luma[i];
        squares += luma[i] * luma[i];
    }
    *mean = sum / LOOK_SIZE;
    *variance = squares / LOOK_SIZE - *mean * *mean;
}

bool look_is_empty(const uint8_t luma[LOOK_SIZE])
{
    int mean, variance;
    measure(luma, &mean, &variance);
    return variance < FLAT_SPREAD * FLAT_SPREAD || (mean < DARK && variance < DARK_SPREAD * DARK_SPREAD);
}

void choice_begin(struct choice *c, const struct choice_rules *rules, const struct choice_mark *from)
{
    *c = (struct choice){.rules = *rules, .spare = -1};
    if (from)
        c->mark = c->now = *from;
}

bool choice_full(const struct choice *c)
{
    return c->now.kept >= c->rules.max_frames;
}

static bool is_new(const struct choice *c, const struct look *look)
{
    return look->sharp >= BLURRED && (!c->now.has_last || look_difference(look->luma, c->now.last) >= SAME);
}

// The piece is over: is its best picture kept?
static unsigned close_piece(struct choice *c)
{
    struct choice_mark *now = &c->now;
    const struct look *best = &c->best;
    bool had = c->has_best;
    c->has_best = false;
    if (!had || !is_new(c, best) || choice_full(c))
        return 0;
    int minute = (int)(best->time_ms / 60000);
    if (minute != now->minute) {
        now->minute = minute;
        now->kept_in_minute = 0;
    }
    if (now->kept_in_minute >= c->rules.per_minute)
        return 0;
    now->kept_in_minute++;
    now->kept++;
    now->has_last = true;
    memcpy(now->last, best->luma, LOOK_SIZE);
    return CHOICE_KEEP;
}

static bool is_cut(struct choice *c, const struct look *look)
{
    if (!c->has_before)
        return false;
    int change = look_difference(look->luma, c->before), before = c->change;
    c->change = change;
    return change >= CUT && change >= CUT_TIMES * before;
}

static unsigned judge(struct choice *c, const struct look *look)
{
    unsigned what = 0;
    bool empty = look_is_empty(look->luma);
    float spare = empty ? 0 : look->sharp;
    if (c->now.kept == 0 && spare > c->spare * SHARPER) {
        c->spare = spare;
        what |= CHOICE_HOLD_SPARE;
    }
    if (!empty && (!c->has_best || look->sharp > c->best.sharp * SHARPER)) {
        c->has_best = true;
        c->best = *look;
        what |= CHOICE_HOLD;
    }
    return what;
}

unsigned choice_feed(struct choice *c, const struct look *look)
{
    unsigned what = 0;
    int64_t slot = look->time_ms / c->rules.interval_ms * c->rules.interval_ms;
    if (slot > c->now.at_ms) {
        what = close_piece(c) | CHOICE_MARK;
        c->now.at_ms = slot;
        c->mark = c->now;
        c->has_before = false;
        c->change = 0;
    } else if (is_cut(c, look)) {
        what = close_piece(c);
    }
    what |= judge(c, look);
    c->has_before = true;
    memcpy(c->before, look->luma, LOOK_SIZE);
    return what;
}

unsigned choice_end(struct choice *c)
{
    unsigned what = close_piece(c);
    c->mark = c->now;
    return what;
}
