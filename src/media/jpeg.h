// SPDX-License-Identifier: Apache-2.0
// The fast way for ordinary JPEGs (grey or three colours, no profile or a simple one): libjpeg straight into the
// pixels. libvips' copies and caches on the way would cost half as much again for a small photo.
#ifndef DEEPLENS_MEDIA_JPEG_H
#define DEEPLENS_MEDIA_JPEG_H

#include <stddef.h>

#include "base/error.h"
#include "base/pixels.h"
#include "media/icc.h"

struct jpeg_decoded {
    struct pixels pixels; // as stored; at least as large as asked for where the original is
    int orientation;      // EXIF's, or 1
    enum icc_kind kind;   // ICC_SRGB or ICC_SIMPLE
    struct icc icc;       // to be applied if ICC_SIMPLE
};

enum { JPEG_NOT_MINE = 1 };

// Decodes at the smallest of the decoder's scales whose longer edge is still at least `max_edge`. The caller has read
// and checked the size, width × height. JPEG_NOT_MINE for CMYK and for profiles that icc.c does not know: nothing was
// decoded, `out` is untouched.
int jpeg_decode(const void *data, size_t len, int width, int height, int max_edge, struct jpeg_decoded *out,
                struct error *err);

#endif
