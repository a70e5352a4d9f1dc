// SPDX-License-Identifier: Apache-2.0
// Details of a picture: small places that can be found again in an altered copy of it, wherever they went, however
// large they are there and however they are turned. A vector says what a picture looks like as a whole; details say
// whether one picture was made from another, also when it is a part of it, stands beside something else, or was turned.
//
// No function here has state; all may be called from any thread.
#ifndef DEEPLENS_MEDIA_DETAILS_H
#define DEEPLENS_MEDIA_DETAILS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/pixels.h"

enum {
    DETAILS_KEPT = 96,   // of an item, the strongest, spread over the picture
    DETAILS_ASKED = 160, // of a query: those of a part of it must be among them
    DETAIL_WORDS = 2,
    DETAIL_KINDS = 3, // brighter than what is around them, darker, neither: one does not become another
};

struct detail {
    float x, y;  // its middle, in pixels of the reduced picture
    float size;  // of one step of its patch, in the same pixels
    float angle; // where its gradient points, radians
};

struct details { // kind after kind
    size_t count;
    size_t ends[DETAIL_KINDS]; // of each kind; the last is `count`
    struct detail of[DETAILS_ASKED];
    uint64_t bits[DETAIL_WORDS][DETAILS_ASKED]; // what each looks like
};

// Finds at most `most` (DETAILS_KEPT or DETAILS_ASKED) of them; none in a picture that shows nothing. Takes about a
// millisecond. Fails for want of memory alone.
int details_find(const struct pixels *picture, size_t most, struct details *out, struct error *err);

// The details of the mirrored picture, which lies somewhere left of the picture.
void details_mirror(const struct details *in, struct details *out);

// `kept` has DETAILS_KEPT at most. How much speaks for the one picture holding what the other does, all in one motion
// (moved, scaled, turned): 0 (nothing) … below 1.
float details_compare(const struct details *asked, const struct details *kept);

// As they are stored: DETAILS_PACKED_MAX bytes at most.
enum {
    DETAILS_HEAD = 1 + DETAIL_KINDS,
    DETAIL_PACKED = 8 + DETAIL_WORDS * 8,
    DETAILS_PACKED_MAX = DETAILS_HEAD + DETAILS_KEPT * DETAIL_PACKED,
};
size_t details_pack(const struct details *in, uint8_t *out);                               // returns the bytes written
int details_unpack(const void *bytes, size_t len, struct details *out, struct error *err); // ERR_DATA_CORRUPT

#endif
