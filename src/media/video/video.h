// SPDX-License-Identifier: Apache-2.0
// Videos: the frames that matter (choice.h), or those at given times, small and upright, one after the other. Bytes of
// strangers are looked at in a process of its own, in a cage (cage.h): one process a video, ended with it. What comes
// from there is believed no more than the file was.
//
// Threads: a video belongs to one thread at a time.
#ifndef DEEPLENS_MEDIA_VIDEO_VIDEO_H
#define DEEPLENS_MEDIA_VIDEO_VIDEO_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/pixels.h"
#include "media/video/choice.h"

enum { VIDEO_NAME = 32 };
static const int64_t VIDEO_MS_MAX = (int64_t)1000 * 60 * 60 * 24 * 30;

struct video_limits {
    uint64_t max_pixels; // of a picture
    int max_edge;        // of a picture
    int frame_edge;      // of the frames that come of it: the longer edge, at most VIDEO_FRAME_EDGE_MAX
    int threads;         // that decode
    uint64_t memory;     // bytes that decoding may take
    int64_t time_ms;     // that all of it may take
    int64_t silence_ms;  // for which it may say nothing
    struct choice_rules rules;
};

enum { VIDEO_FRAME_EDGE_MAX = 2048 };

struct video_info {                            // as the container says
    int width, height;                         // upright, of square pixels
    int rotation;                              // clockwise, of what is stored: 0, 90, 180, 270
    double fps;                                // 0: not known
    int64_t duration_ms;                       // 0: not known
    char codec[VIDEO_NAME], audio[VIDEO_NAME]; // "h264", "aac"; "": none
};

enum { VIDEO_WISHES_MAX = 128 };

struct video_wishes { // pictures at given times
    int count;
    int64_t at_ms[VIDEO_WISHES_MAX]; // never going back
    int64_t about_ms; // a picture may be this much later than was wished, where that is quicker; 0: it is to be exact
};

struct video; // one that is open

// The program that is started as `PROGRAM worker-video`, which must call video_worker then.
void video_set_worker(const char *program);

// Starts with the file at `fd`, which stays the caller's. `from` NULL: at the beginning. The frames that come are those
// that would have come behind the mark without the break.
int video_open(int fd, const struct video_limits *limits, const struct choice_mark *from, struct video **out,
               struct error *err);

// Starts with the pictures at those times: for each in its turn a VIDEO_FRAME, the first picture at its time or behind
// it
// (`time_ms` says where it is). Behind the video's end there is its last picture, once, and no more.
int video_open_wishes(int fd, const struct video_limits *limits, const struct video_wishes *wishes, struct video **out,
                      struct error *err);

enum video_step {
    VIDEO_INFO,  // first, once: `info`
    VIDEO_FRAME, // `pixels` (valid until the next call) at `time_ms`
    VIDEO_MARK,  // everything up to `mark` has come; `time_ms` says how far it is
    VIDEO_END    // that was all; `duration_ms` is what was measured, `complete` whether the file was whole
};

struct video_message {
    enum video_step step;
    struct video_info info;
    struct pixels pixels;
    int64_t time_ms;
    struct choice_mark mark;
    int64_t duration_ms;
    bool complete;
};

// Waits for what comes next. ERR_VIDEO_CORRUPT, ERR_VIDEO_EMPTY, ERR_VIDEO_TOO_LARGE, ERR_UNSUPPORTED_MEDIA;
// ERR_DECODER_DIED, ERR_DECODER_TIMEOUT; ERR_UNAVAILABLE when no process can be started.
int video_next(struct video *v, struct video_message *out, struct error *err);
void video_close(struct video *v); // at once, wherever it is; takes NULL

int video_pid(const struct video *v); // for tests

// What the process does: returns 1 at once when it was not started as a worker.
int video_worker(void);

#endif
