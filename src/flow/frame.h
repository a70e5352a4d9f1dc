// SPDX-License-Identifier: Apache-2.0
// Frames of videos. A frame is an item of kind "frame" with a parent and a time; its picture is a small WebP, which is
// what models see and what is shown. Ids follow from the video and the time, so that doing it again makes no second
// one. A frame is part of its video: it does not count in the ledger, is in no list of uploads, and goes with the
// video.
#ifndef DEEPLENS_FLOW_FRAME_H
#define DEEPLENS_FLOW_FRAME_H

#include "flow/step.h"

struct frame { // made by video.c
    struct media row;
    struct emit *requests; // for its vectors, one a model
};

// The row of a frame at a time of the video, of which `webp` are the bytes of its picture, and what asks for its
// vectors; all in the arena.
int frame_make(struct flow *f, struct arena *arena, const struct media *video, int64_t time_ms,
               const struct pixels *pixels, const struct buf *webp, struct frame *out, struct error *err);
// What the keys of a video's frames begin with, in the arena.
const char *frame_folder(struct arena *arena, const struct media *video);
// What asks for a frame's vectors, in the arena: a list.
int frame_requests(struct flow *f, struct arena *arena, const struct media *frame, struct emit **out,
                   struct error *err);

// How far a video was worked on: what media.progress holds.
struct video_progress {
    struct choice_mark mark;
    int64_t from_ms; // where the attempt began that is at work, or was the last
    bool done;       // all frames are there
};
void video_progress_read(const char *text, struct video_progress *out); // NULL: nothing was done
// Seconds until all frames of a video are there that is worked on; below 0: that cannot be told.
double video_time_remaining(const struct item *item, int64_t now_ms);
const char *video_progress_write(struct arena *arena, const struct video_progress *progress);

// Called when a frame ended, and when the last one was made: when no frame is waited for any more, says in the same
// transaction that the video is completed, or failed when none of its frames is searchable.
int video_settle_tx(struct flow *f, struct meta_tx *tx, struct arena *arena, const char *tenant, const char *id,
                    struct error *err);

// Removes what there is of a video's frames, page by page; verified. Each page can be done again. `files`, `vectors`,
// `rows`: which of these. Before, frames_hide marks them all as being deleted, so that steps at work on them see it.
// frames_count adds what there is of them to what a deletion found (receipt.h).
int frames_hide(struct flow *f, const struct media *video, struct error *err);
int frames_count(struct flow *f, const struct media *video, json_t *found, struct error *err);
int frames_remove(struct flow *f, const struct media *video, bool files, bool vectors, bool rows, struct error *err);

#endif
