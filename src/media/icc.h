// SPDX-License-Identifier: Apache-2.0
// Colour profiles (ICC.1) of the simple kind that photos carry: three primaries and a curve each (Display P3, Adobe
// RGB, …), or one curve for grey. They are applied to small 8-bit pixels with integers only, in a fraction of the time
// that a colour management system needs to set itself up. Profiles made of tables are left to such a system.
#ifndef DEEPLENS_MEDIA_ICC_H
#define DEEPLENS_MEDIA_ICC_H

#include <stddef.h>
#include <stdint.h>

#include "base/pixels.h"

enum icc_kind {
    ICC_SRGB,   // nothing to do
    ICC_SIMPLE, // icc_apply does it
    ICC_OTHER,  // tables, CMYK, Lab, or not readable
};

struct icc {
    uint16_t linear[3][256]; // light for each sample, 65535 being full
    int32_t matrix[3][3];    // to linear sRGB, in units of 1 / 16384
};

// `channels` is 3 for RGB and 1 for grey; a profile for anything else is ICC_OTHER. Fills `out` if ICC_SIMPLE.
enum icc_kind icc_read(const void *profile, size_t len, int channels, struct icc *out);

void icc_apply(const struct icc *icc, struct pixels *px); // to sRGB, in place

#endif
