// SPDX-License-Identifier: Apache-2.0
// What the kernels share.
#ifndef DEEPLENS_BACKENDS_INDEX_KERNEL_INT_H
#define DEEPLENS_BACKENDS_INDEX_KERNEL_INT_H

#include <stdint.h>

#include "backends/index/kernel.h"

extern const struct kernel kernel_plain;
extern const struct kernel kernel_avx2;   // x86-64
extern const struct kernel kernel_avx512; // x86-64
extern const struct kernel kernel_neon;   // AArch64

// Asks for the cache lines of what is scanned soon, since the processor's own prefetching ends at the end of a page.
// The address may lie behind the rows: a prefetch of what is not there does nothing.
enum { KERNEL_AHEAD = 4096, KERNEL_LINE = 64 }; // bytes

static inline void kernel_prefetch(const float *row, size_t length)
{
    uintptr_t ahead = (uintptr_t)row + KERNEL_AHEAD;
    for (size_t i = 0; i < length * sizeof *row; i += KERNEL_LINE)
        __builtin_prefetch((const void *)(ahead + i), 0, 3);
}

// The same text for all, which compilers turn into what the function that it stands in may use.
static inline __attribute__((always_inline)) void
kernel_count_bits(const uint64_t *query, const uint64_t (*sketches)[SKETCH_WORDS], size_t count, unsigned *out)
{
    for (size_t i = 0; i < count; i++) {
        unsigned sum = 0;
        for (size_t word = 0; word < SKETCH_WORDS; word++)
            sum += (unsigned)__builtin_popcountll(query[word] ^ sketches[i][word]);
        out[i] = sum;
    }
}

#endif
