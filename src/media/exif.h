// SPDX-License-Identifier: Apache-2.0
// Reads the one thing that matters of EXIF: which way is up.
#ifndef DEEPLENS_MEDIA_EXIF_H
#define DEEPLENS_MEDIA_EXIF_H

#include <stddef.h>
#include <stdint.h>

// `segment` is a JPEG APP1 segment from "Exif\0\0" on. 1 … 8, or 0 when it does not say.
int exif_orientation(const uint8_t *segment, size_t len);

#endif
