// SPDX-License-Identifier: Apache-2.0
// What a video's process and the one that started it say to each other: structs as they are, one a message
// (SOCK_SEQPACKET), since both are the same program. Frames lie in rooms of the shared memory; a room is the worker's
// until it has reported it, and again when it was given back.
//
//   3 the socket, 4 the shared memory, 5 the video's file
//   → video_order, once     ← video_report …, the last of them REPORT_END or REPORT_FAILED     → video_room …
#ifndef DEEPLENS_MEDIA_VIDEO_WIRE_H
#define DEEPLENS_MEDIA_VIDEO_WIRE_H

#include "media/video/video.h"

enum { VIDEO_MAGIC = 0x646c7664, VIDEO_SOCKET = 3, VIDEO_MEMORY = 4, VIDEO_FILE = 5, VIDEO_FREE = 6, VIDEO_ROOMS = 4 };

struct video_order {
    int magic;
    struct video_limits limits;
    bool has_from;
    struct choice_mark from;
    struct video_wishes wishes; // none: the frames that matter
};

enum report_kind { REPORT_INFO, REPORT_FRAME, REPORT_MARK, REPORT_END, REPORT_FAILED };

struct video_report {
    int kind; // enum report_kind
    struct error error;
    struct video_info info;
    int room, width, height;
    int64_t time_ms;
    struct choice_mark mark;
    int64_t duration_ms;
    bool complete;
};

struct video_room {
    int room;
};

static inline size_t video_room_bytes(const struct video_limits *limits)
{
    return (size_t)limits->frame_edge * (size_t)limits->frame_edge * 3;
}

#endif
