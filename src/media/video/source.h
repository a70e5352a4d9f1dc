// SPDX-License-Identifier: Apache-2.0
// A video's file, opened by FFmpeg's libraries: only the descriptor is read, only formats and decoders of the lists are
// tried, nothing that a file names is opened. Called in the cage.
#ifndef DEEPLENS_MEDIA_VIDEO_SOURCE_H
#define DEEPLENS_MEDIA_VIDEO_SOURCE_H

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>

#include "base/error.h"
#include "media/video/video.h"

struct source {
    AVFormatContext *format;
    AVIOContext *io;
    AVCodecContext *codec;
    AVStream *stream;
    AVPacket *packet;
    int fd;
    int64_t size, at;
    int64_t last_ms; // of the frame before
    int64_t counted; // frames, where the file gives no times
    int sar_num, sar_den;
    bool draining;
    bool broken;  // reading ended before the end
    bool starved; // for want of memory
};

// Opens the file and its video stream; fills `info`. ERR_VIDEO_CORRUPT, ERR_VIDEO_EMPTY, ERR_VIDEO_TOO_LARGE,
// ERR_UNSUPPORTED_MEDIA, ERR_NO_MEMORY.
int source_open(struct source *s, int fd, int64_t size, const struct video_limits *limits, struct video_info *info,
                struct error *err);
void source_close(struct source *s);

// Decodes key frames alone from now on, when they stand closer than this: quicker where few pictures are wanted.
void source_skip_to_keys(struct source *s, int64_t interval_ms);
// Goes to a key frame at or before the time; where the file cannot be searched, stays where it is.
void source_seek(struct source *s, int64_t ms);
// Towards the time, from where it is: jumps where that spares decoding.
void source_leap(struct source *s, int64_t ms);
// The next picture and its time: 1, or 0 at the end (`broken` says whether that is the file's), or -1.
int source_next(struct source *s, AVFrame *frame, int64_t *ms, struct error *err);

#endif
