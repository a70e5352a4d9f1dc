// SPDX-License-Identifier: Apache-2.0
// Dot products of one query with many rows, and differing bits of sketches, in one version for each kind of processor.
//
// Each kernel adds the products of a row in an order of its own, so that two kernels may differ in the last
// bits; one kernel gives equal rows equal results wherever they lie.
#ifndef DEEPLENS_BACKENDS_INDEX_KERNEL_H
#define DEEPLENS_BACKENDS_INDEX_KERNEL_H

#include <stdbool.h>
#include <stddef.h>

#include "backends/index/sketch.h"

enum {
    KERNEL_STEP = 16,  // rows are this many floats long, or a multiple
    KERNEL_ALIGN = 64, // and query and rows start at a multiple of this many bytes
};

// out[i] = query · row i, for `count` rows of `length` floats that lie one behind the other.
typedef void kernel_dots(const float *query, const float *rows, size_t length, size_t count, float *out);

// out[i] = how many bits differ between the query and sketch i.
typedef void kernel_bits(const uint64_t *query, const uint64_t (*sketches)[SKETCH_WORDS], size_t count, unsigned *out);

struct kernel {
    const char *name;
    bool (*supported)(void); // by this processor
    kernel_dots *dots;
    kernel_bits *bits;
};

extern const struct kernel *const kernels[]; // the fastest first; plain C last; then NULL

const struct kernel *kernel_best(void); // the first that is supported

#endif
