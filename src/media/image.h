// SPDX-License-Identifier: Apache-2.0
// Images: decoding to small sRGB pixels and encoding thumbnails, on libvips. Any thread; blocks for the CPU time
// it takes. Untrusted loaders are blocked; only the formats that the probe knows are decoded.
#ifndef DEEPLENS_MEDIA_IMAGE_H
#define DEEPLENS_MEDIA_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/pixels.h"
#include "media/motion.h"

int image_init(struct error *err); // once a process, before any other; sets libvips up (no cache, one thread an image)
void image_shutdown(void);
void image_thread_end(void); // before a thread that used this module ends

struct image_decoded {
    struct pixels pixels; // fits into the box asked for
    int width, height;    // of the original, orientation applied
    struct motion motion; // the video in it, for who asks motion_find; else nothing
};

// Decodes (first frame; EXIF orientation, ICC → sRGB, CMYK, 16 bit, grey and alpha handled) and scales down so that
// the longer edge is at most `max_edge` pixels, with the decoder's own shrinking where it has one. Never enlarges.
// ERR_IMAGE_CORRUPT, ERR_IMAGE_TRUNCATED, ERR_UNSUPPORTED_MEDIA, ERR_IMAGE_TOO_LARGE (above max_pixels, before memory
// is taken).
int image_decode(const void *data, size_t len, int max_edge, uint64_t max_pixels, struct image_decoded *out,
                 struct error *err);

// Encodes WebP so that the longer edge is at most `max_edge`; `quality` 1 … 100. Appends to `out`. No metadata is kept.
int image_thumbnail(const struct pixels *in, int max_edge, int quality, struct buf *out, struct error *err);

#endif
