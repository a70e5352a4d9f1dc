// SPDX-License-Identifier: Apache-2.0
// Turns and mirrors pixels as EXIF's orientation says.
#ifndef DEEPLENS_MEDIA_ORIENT_H
#define DEEPLENS_MEDIA_ORIENT_H

#include "base/pixels.h"

void orient(struct pixels *px, int orientation); // 1 … 8; anything else is taken for 1, which leaves it as it is

#endif
