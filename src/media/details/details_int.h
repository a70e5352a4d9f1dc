// SPDX-License-Identifier: Apache-2.0
// What the files of this folder share.
#ifndef DEEPLENS_MEDIA_DETAILS_INT_H
#define DEEPLENS_MEDIA_DETAILS_INT_H

#include "media/details/details.h"

#define DETAILS_PI 3.14159265358979323846f

// One plane of the pyramid: a grey picture that shows nothing smaller than `size` of its pixels.
struct plane {
    int width, height;
    float pixel;  // how many pixels of the reduced picture one of its pixels is wide
    float *value; // width × height, rows from the top
};

// The angle and the bits of what is at (x, y) of a plane; `step`, like x and y, is in the plane's pixels.
float detail_describe(const struct plane *plane, float x, float y, float step, uint64_t bits[DETAIL_WORDS]);

#endif
