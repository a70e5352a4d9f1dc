// SPDX-License-Identifier: Apache-2.0
// From decoded pixels to what a model takes: the right size, then floats.
#ifndef DEEPLENS_BACKENDS_EXTRACTOR_PICTURE_H
#define DEEPLENS_BACKENDS_EXTRACTOR_PICTURE_H

#include "backends/extractor/model_spec.h"
#include "base/pixels.h"

// Writes spec's width × height × 3 bytes (rows from the top, RGB), fitted as the spec says.
void picture_fit(const struct pixels *in, const struct model_spec *spec, uint8_t *out);

// Writes width × height × 3 floats in the model's layout and order of channels: (value / 255 - mean) / std.
void picture_floats(const uint8_t *fitted, const struct model_spec *spec, float *out);

#endif
