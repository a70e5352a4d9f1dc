// SPDX-License-Identifier: Apache-2.0
// What the built-in extractor measures in a picture, before what is usual in pictures is taken away: also used by
// the program that learns what is usual (bench/quality/learn.c).
#ifndef DEEPLENS_BACKENDS_EXTRACTOR_BUILTIN_MEASURE_H
#define DEEPLENS_BACKENDS_EXTRACTOR_BUILTIN_MEASURE_H

#include "backends/extractor/builtin_embed.h"
#include "base/pixels.h"

enum { MEASURE_BLOCKS = 4, MEASURE_FEATURES = EMBED_FEATURES, MEASURE_DIMENSION = MEASURE_BLOCKS * MEASURE_FEATURES };

enum measure_block {
    MEASURE_SHAPE,  // brightness around a point: survives turning, mirroring, recolouring, loss of colour
    MEASURE_TINT,   // the same with the colours around it
    MEASURE_COLOUR, // brightness and colour at the point: survives blurring and loss of detail
    MEASURE_LAYOUT  // the same, with the distances from the picture's middle lines
};

struct measure {
    struct embed embeds[MEASURE_BLOCKS];
};

void measure_init(struct measure *m);

// Writes the mean features of all measured points, block after block, each -1 … 1. Any thread.
void measure_picture(const struct measure *m, const struct pixels *in, float out[MEASURE_DIMENSION]);

#endif
