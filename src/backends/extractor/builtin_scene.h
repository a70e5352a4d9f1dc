// SPDX-License-Identifier: Apache-2.0
// A picture prepared for measuring: brought to one size, split into brightness and two opponent colours, its
// plain borders masked, and blurred step by step.
#ifndef DEEPLENS_BACKENDS_EXTRACTOR_BUILTIN_SCENE_H
#define DEEPLENS_BACKENDS_EXTRACTOR_BUILTIN_SCENE_H

#include <stdint.h>

#include "base/arena.h"
#include "base/pixels.h"

enum {
    SCENE_BLURS = 6,        // [0] is sharp, [1] … [6] are ever smoother
    SCENE_COLOUR_BLURS = 5, // the smoothest that the colours have
    SCENE_LEVEL = 32,       // one level of an 8-bit picture, in the units of the planes
};

struct scene {
    int width, height;
    const uint8_t *mask;                // 1 where there is picture, 0 on plain borders
    int16_t *plane[3][SCENE_BLURS + 1]; // brightness, red-green, blue-yellow
    const int16_t *activity;            // how much brightness varies around here
    float mean[3];                      // of plane[c][1], over the mask
    float spread;                       // mean distance of plane[0][1] from its mean
};

// `s` lives in `arena`.
void scene_make(struct scene *s, const struct pixels *in, struct arena *arena);

#endif
