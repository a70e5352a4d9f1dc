// SPDX-License-Identifier: Apache-2.0
// Random Fourier features in 16-bit integers: what turns a set of local measurements into one vector whose inner
// products tell how many measurements two pictures have in common.
#ifndef DEEPLENS_BACKENDS_EXTRACTOR_BUILTIN_EMBED_H
#define DEEPLENS_BACKENDS_EXTRACTOR_BUILTIN_EMBED_H

#include <stdint.h>

enum {
    EMBED_INPUTS = 18,    // the most numbers in one measurement
    EMBED_FEATURES = 128, // of each measurement
    EMBED_UNIT = 256,     // what counts as 1 in a measurement
    EMBED_PEAK = 8192,    // the largest feature; 2^18 of them fit into a sum
};

struct embed {
    int inputs;
    uint16_t frequency[EMBED_INPUTS][EMBED_FEATURES]; // phase (65536 a turn) for each unit of each input
    uint16_t phase[EMBED_FEATURES];
};

// Draws the frequencies: measurements that are EMBED_UNIT apart differ in phase by `radians` (standard deviation),
// so that their features have little in common when that is above 2 or so. Same seed, same features.
void embed_init(struct embed *e, int inputs, double radians, uint64_t seed);

// Adds the features of a measurement to `sums`.
void embed_add(const struct embed *e, const int16_t *measured, int32_t sums[EMBED_FEATURES]);

#endif
