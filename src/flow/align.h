// SPDX-License-Identifier: Apache-2.0
// Copy detection, its second half: frames of one video were found to look like frames of another; is a stretch of the
// one a copy of a stretch of the other, and of which?
//
// Each pair of frames that look alike votes for the lines at = speed × query + offset that it lies on (a Hough
// transform over a few speeds and offsets in bins). A frame of the query has one vote a line, the best of its pairs.
// The line with the most weight is drawn again through its pairs by least squares; what lies on it is the copy.
#ifndef DEEPLENS_FLOW_ALIGN_H
#define DEEPLENS_FLOW_ALIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct align_pair { // a frame of the query, and one of the other video that looks like it
    int query;      // which of the query's frames, 0 …
    int64_t at_ms;  // where the other one is in its video
    float score;    // how much alike they are: a cosine, up to 1
};

struct align_query {
    const int64_t *at_ms; // of its frames, rising
    int count;
    int64_t duration_ms;
    int64_t slack_ms; // how far from the line a pair may lie: frames are chosen in steps, which do not fall together
};

struct align_match {
    int64_t query_from_ms, query_to_ms; // this stretch of the query …
    int64_t from_ms, to_ms;             // … is this one of the video
    double speed;                       // seconds of the video in one of the query
    int frames;                         // of the query's that speak for it
    float score;                        // of those between, on average; those that do not speak for it count as 0
};

// False when nothing speaks for a copy: fewer than three frames in a row of times (or all that the query has), or their
// score is below `least`.
bool align_find(const struct align_query *query, const struct align_pair *pairs, size_t count, float least,
                struct align_match *out);

#endif
