// SPDX-License-Identifier: Apache-2.0
// The choice of the frames that matter. Pictures go by in the order of time; of each only a small look is seen here,
// and no pixels are kept: the caller holds the picture that it is told to hold, and keeps it when it is told to.
//
// Time is cut into slots of `interval_ms`, and each slot at the cuts between shots. Of each piece the sharpest picture
// that is neither black nor flat is kept, unless it is blurred, or nearly what was kept last (a scene that stands still
// gives one frame). At most `per_minute` of a minute and `max_frames` of all are kept.
//
// What is chosen within a slot depends on nothing but the slot and the mark before it. So whoever begins anew from a
// mark chooses what would have been chosen without the break. Where a video shows nothing but what is passed over, its
// best picture is there all the same (the spare one).
#ifndef DEEPLENS_MEDIA_VIDEO_CHOICE_H
#define DEEPLENS_MEDIA_VIDEO_CHOICE_H

#include <stdbool.h>
#include <stdint.h>

enum { LOOK_SIDE = 16, LOOK_SIZE = LOOK_SIDE * LOOK_SIDE };

struct look { // what is seen of a picture
    int64_t time_ms;
    uint8_t luma[LOOK_SIZE]; // its brightness, in cells
    float sharp;             // differences between neighbours, by its contrast: see look.c
};

struct choice_rules {
    int64_t interval_ms; // 1 …
    int per_minute, max_frames;
};

struct choice_mark { // between two slots: all that what follows depends on. Zeroed: the beginning
    int64_t at_ms;   // the slot that follows begins here
    int kept, minute, kept_in_minute;
    bool has_last;
    uint8_t last[LOOK_SIZE]; // of what was kept last
};

enum {                    // what is to be done with the pictures, in this order
    CHOICE_KEEP = 1,      // keep the one that is held
    CHOICE_MARK = 2,      // a slot is over: `mark` has moved
    CHOICE_HOLD = 4,      // hold this one
    CHOICE_HOLD_SPARE = 8 // hold this one as the spare one, too
};

struct choice {
    struct choice_rules rules;
    struct choice_mark mark; // as of the last end of a slot
    struct choice_mark now;
    bool has_before, has_best;
    uint8_t before[LOOK_SIZE]; // the picture before, in the same slot
    int change;                // between the two before
    struct look best;
    float spare; // how good the spare one is; below 0: there is none
};

// `from` NULL: from the beginning.
void choice_begin(struct choice *c, const struct choice_rules *rules, const struct choice_mark *from);
// The next picture; times never go back. Returns what is to be done.
unsigned choice_feed(struct choice *c, const struct look *look);
// There are no more: CHOICE_KEEP or 0. When nothing was kept at all, the caller takes the spare one.
unsigned choice_end(struct choice *c);
// No more will be kept, whatever comes.
bool choice_full(const struct choice *c);

// Of two looks, 0 … 255 for each cell on average; and whether a picture shows nothing.
int look_difference(const uint8_t a[LOOK_SIZE], const uint8_t b[LOOK_SIZE]);
bool look_is_empty(const uint8_t luma[LOOK_SIZE]);

#endif
