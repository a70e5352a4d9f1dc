// SPDX-License-Identifier: Apache-2.0
// What a file of video is by its first bytes: MP4, MOV, 3GP, WebM, Matroska, AVI, MPEG transport and program streams.
#ifndef DEEPLENS_MEDIA_VIDEO_KIND_H
#define DEEPLENS_MEDIA_VIDEO_KIND_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct video_kind {
    const char *name;         // "MP4"
    const char *content_type; // "video/mp4"
    const char *extension;    // "mp4"
};

// More bytes than this never change the answer.
enum { VIDEO_KIND_BYTES = 1024 };

// ERR_UNSUPPORTED_MEDIA, with a sentence that says what it is instead where that can be told; ERR_EMPTY_FILE. `len` is
// all there is, or at least VIDEO_KIND_BYTES.
int video_kind_find(const uint8_t *data, size_t len, const struct video_kind **out, struct error *err);

#endif
