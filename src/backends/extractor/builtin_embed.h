// SPDX-License-Identifier: Apache-2.0
// Random Fourier features in 16-bit integers: what turns a set of local measurements into one vector whose inner
// products count how many measurements two pictures have in common.
#ifndef DEEPLENS_BACKENDS_EXTRACTOR_BUILTIN_EMBED_H
#define DEEPLENS_BACKENDS_EXTRACTOR_BUILTIN_EMBED_H

#include <stdint.h>

enum {
    EMBED_INPUTS = 48,    // the most numbers in one measurement
    EMBED_FEATURES = 512, // the most features; always a multiple of 8
    EMBED_UNIT = 256,     // the length that measurements of ordinary strength have
};

struct embed {
    int inputs, features;
    uint16_t frequency[EMBED_INPUTS][EMBED_FEATURES]; // phase (65536 a turn) for each unit of each input
    uint16_t phase[EMBED_FEATURES];
};

// Draws the frequencies: two measurements that are EMBED_UNIT apart differ in phase by `radians` (standard
// deviation), so their features have little in common when that is above about 2. Same seed, same features.
void embed_init(struct embed *e, int inputs, int features, double radians, uint64_t seed);

// Adds a measurement's features, times `weight` (0 … 255), to `sums`. 2^19 such additions fit.
void embed_add(const struct embed *e, const int16_t *measured, int weight, int32_t *sums);

#endif
