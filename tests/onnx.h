// SPDX-License-Identifier: Apache-2.0
// Writes small ONNX models, so that tests need no file of anybody's: a picture in, a few numbers out.
#ifndef DEEPLENS_TESTS_ONNX_H
#define DEEPLENS_TESTS_ONNX_H

#include <stdbool.h>
#include <stddef.h>

enum onnx_kind {
    ONNX_POOL, // means over cells of 2 x 2: a vector of 3 x (edge / 2)²
    ONNX_ZERO, // the same minus itself
    ONNX_NAN,  // the logarithm of something below zero
    ONNX_TWO_INPUTS,
    ONNX_NO_ROW, // the pooled picture, not brought into a row: more than one axis
};

// Writes DIR/model.onnx and DIR/model.json of a model for pictures of edge x edge. `dimension` is what the description
// says, 0 for the truth; `sha256` may be NULL. `batch` 0: any number of pictures at once.
void onnx_write(const char *dir, const char *name, enum onnx_kind kind, int edge, int batch, size_t dimension,
                const char *sha256);

#endif
