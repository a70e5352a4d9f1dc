// SPDX-License-Identifier: Apache-2.0
// A video as the query: which videos is it a copy of, or of a part of (encoded again, cropped, cut out, a little faster
// or slower), and which part of the one is which of the other?
//
// Frames of the query are chosen closer together than those that are kept (its choice cannot fall on the same ones), in
// the cage, like theirs. For each, the nearest frames are looked up, and looked at closer where details are kept; then
// the pairs of each video are brought into line (align.h).
#ifndef DEEPLENS_FLOW_SEARCH_VIDEO_H
#define DEEPLENS_FLOW_SEARCH_VIDEO_H

#include "flow/align.h"
#include "flow/flow.h"

struct video_query {
    const char *tenant;
    int fd;               // a file of video, the caller's; -1: by `id`
    const char *id;       // a stored video, which is left out of the answer
    const char *model;    // NULL: the default
    size_t k;             // 0: the default
    float min_score;      // of an aligned stretch
    const json_t *filter; // as searches take it; NULL: none
};

#define VIDEO_QUERY_MIN_SCORE 0.8F // where none is given

struct video_hit { // one a video
    struct media video;
    struct align_match match;
};

struct video_result { // in the arena, the best first
    struct video_hit *hits;
    size_t count;
    const char *model;
    int64_t duration_ms; // of the query, as far as it was looked at
    int frames;          // of the query that were looked up
    bool complete;       // the query was looked at to its end
    int64_t took_us;
};

// ERR_VIDEO_…, ERR_DECODER_… of the query; ERR_OVERLOADED when others search with videos; as search_run.
int search_video(struct flow *f, const struct video_query *query, struct arena *arena, struct video_result *out,
                 struct error *err);

#endif
