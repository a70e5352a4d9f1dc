// SPDX-License-Identifier: Apache-2.0
// What is made of a video for those who look at it: a poster (WebP), a short preview that moves (animated WebP), and a
// sheet of small pictures for scrubbing (WebP) with its map (WebVTT). Made once, by the step derive, after the video
// is searchable; kept beside the other files of its tenant under keys that follow from the video's id, and with its
// record: media.video's member "derived" says what there is. They go with the video.
#ifndef DEEPLENS_FLOW_DERIVED_H
#define DEEPLENS_FLOW_DERIVED_H

#include "base/buf.h"
#include "flow/flow.h"

enum derived { DERIVED_POSTER, DERIVED_PREVIEW, DERIVED_SPRITE, DERIVED_COUNT };

// Where it is kept, in the arena.
const char *derived_key(struct arena *arena, const char *tenant, const char *id, enum derived what);

// Makes those that are not there; `*out` is what the record is to say of them, the caller's. A video of which nothing
// can be seen any more has none; nor of one whose decoder took too long, or died at the `last` attempt. Blocks for as
// long as decoding takes.
int derived_make(struct flow *f, struct arena *arena, const struct media *video, bool last, json_t **out,
                 struct error *err);

// Removes the files; takes those that are not there. And how many there are.
int derived_remove(struct flow *f, struct arena *arena, const char *tenant, const char *id, struct error *err);
int derived_count(struct flow *f, struct arena *arena, const char *tenant, const char *id, size_t *out,
                  struct error *err);

// --- For readers. ERR_NOT_READY while there is none; ERR_NOT_FOUND.

int derived_open(struct flow *f, struct arena *arena, const char *tenant, const char *id, enum derived what,
                 struct media *video, struct blob_reader **out, struct error *err);
// The map of the sheet: which part of it shows which time. The sheet is at `url`.
int derived_map(struct flow *f, struct arena *arena, const char *tenant, const char *id, const char *url,
                struct buf *out, struct error *err);

enum { GLIMPSE_EDGE_MIN = 16 };
// The picture at a time, decoded now and not kept: a WebP of at most `edge` pixels. ERR_OVERLOADED when others do so,
// or the tenant does already; ERR_DECODER_TIMEOUT.
int derived_glimpse(struct flow *f, struct arena *arena, const char *tenant, const char *id, int64_t time_ms, int edge,
                    struct buf *out, struct error *err);

#endif
