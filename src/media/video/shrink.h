// SPDX-License-Identifier: Apache-2.0
// From a decoded picture of a video to small upright sRGB pixels.
#ifndef DEEPLENS_MEDIA_VIDEO_SHRINK_H
#define DEEPLENS_MEDIA_VIDEO_SHRINK_H

#include <libavutil/frame.h>

#include "base/error.h"
#include "base/pixels.h"

struct SwsContext;

struct shrink {
    struct SwsContext *scaler; // kept from picture to picture
};

// Fits the picture into max_edge × max_edge, its pixels made square (sar), turned clockwise by `rotation`. The caller
// frees the pixels.
int shrink_frame(struct shrink *s, const AVFrame *frame, int sar_num, int sar_den, int rotation, int max_edge,
                 struct pixels *out, struct error *err);
void shrink_end(struct shrink *s);

#endif
