// SPDX-License-Identifier: Apache-2.0
// Pictures for tests, made on the spot: four quadrants (red, green / blue, yellow) that survive any codec.
#ifndef DEEPLENS_TESTS_MEDIA_SAMPLES_H
#define DEEPLENS_TESTS_MEDIA_SAMPLES_H

#include <stddef.h>
#include <stdint.h>
#include <vips/vips.h>

struct sample {
    uint8_t *data;
    size_t len;
};

void sample_free(struct sample *s);

// The picture itself, 8-bit sRGB, in memory.
VipsImage *sample_picture(int width, int height);

// Encodes with libvips: `suffix` such as ".jpg[Q=90]". Takes `im`. Fails the test when it cannot.
struct sample sample_encode(VipsImage *im, const char *suffix);
struct sample sample_of(int width, int height, const char *suffix);

// Each kind that is taken, small.
extern const char *const sample_suffixes[];
extern const char *const sample_formats[];
extern const size_t sample_count;

struct sample sample_cat(const void *a, size_t a_len, const void *b, size_t b_len);

#endif
