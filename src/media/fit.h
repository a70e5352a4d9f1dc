// SPDX-License-Identifier: Apache-2.0
// Fitting decoded pixels to what was asked for: their size and the way up.
#ifndef DEEPLENS_MEDIA_FIT_H
#define DEEPLENS_MEDIA_FIT_H

#include "base/pixels.h"

// What becomes of `edge` when `longer`, the longer of the two, is to be at most `max_edge`; at least 1.
int fit_edge(int edge, int longer, int max_edge);

// Scales to exactly what an original of width × height becomes, whatever the decoder's own shrinking rounded to.
void fit_box(struct pixels *px, int width, int height, int max_edge);

// Turns and mirrors as EXIF's orientation says: 1 … 8; anything else is taken for 1, which leaves it as it is.
void orient(struct pixels *px, int orientation);

#endif
