// SPDX-License-Identifier: Apache-2.0
// Decoded pixels: 8-bit sRGB, three interleaved channels, rows from the top, no padding, orientation applied,
// alpha blended over white. What the decoder makes and the extractors take.
#ifndef DEEPLENS_BASE_PIXELS_H
#define DEEPLENS_BASE_PIXELS_H

#include <stddef.h>
#include <stdint.h>

struct pixels {
    int width;     // 1 …
    int height;    // 1 …
    uint8_t *data; // width * height * 3 bytes, malloc'ed
};

static inline size_t pixels_bytes(const struct pixels *p)
{
    return (size_t)p->width * (size_t)p->height * 3;
}

void pixels_free(struct pixels *p); // frees and zeroes; takes a zeroed one

// Area-averages (or, when enlarging, bilinearly samples) to exactly width × height. Integer arithmetic
// throughout: the same bytes on every machine. `out->data` is malloc'ed.
void pixels_resize(const struct pixels *in, int width, int height, struct pixels *out);

#endif
