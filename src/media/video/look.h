// SPDX-License-Identifier: Apache-2.0
// A look at a decoded picture: brightness in cells and sharpness, from samples of its luma plane, so that it costs a
// fraction of what the decoding did.
#ifndef DEEPLENS_MEDIA_VIDEO_LOOK_H
#define DEEPLENS_MEDIA_VIDEO_LOOK_H

#include <libavutil/frame.h>

#include "media/video/choice.h"

// Fills luma and sharp. -1 for pictures whose samples cannot be read in place (palettes, bit streams).
int look_take(const AVFrame *frame, struct look *out);

#endif
