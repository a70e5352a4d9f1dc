// SPDX-License-Identifier: Apache-2.0
// Photos made on the spot: the same on every machine, so that figures can be compared, and nothing has to be installed.
//
// Light that varies at all scales as in nature (octaves of smoothed noise, the finer the weaker), a few objects with
// hard edges, sensor grain, compressed as JPEG 4:2:0. Decoders take about as long as for a camera's picture of that
// many bytes.
#ifndef DEEPLENS_BENCH_PHOTO_H
#define DEEPLENS_BENCH_PHOTO_H

#include <stddef.h>
#include <stdint.h>

struct photo {
    unsigned char *data;
    size_t len;
};

// Different ones. With `bytes`, in the best quality with which they all fit, filled up with zeros behind the picture's
// end; else in quality 85.
void photos_make(int width, int height, size_t bytes, struct photo *out, size_t count);
void photos_free(struct photo *photos, size_t count);

enum { TAIL_LEN = 24 };
// Text that no other body of this run ends with: behind the picture's end, it makes each upload new.
void photo_tail(char out[TAIL_LEN + 1]);

#endif
