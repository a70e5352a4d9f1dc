// SPDX-License-Identifier: Apache-2.0
// What people do to a photo before they pass it on. Every random choice comes from the seed.
#ifndef DEEPLENS_BENCH_QUALITY_EDITS_H
#define DEEPLENS_BENCH_QUALITY_EDITS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/pixels.h"

enum edit {
#define EDIT(symbol, name, goal, heavy) EDIT_##symbol,
#include "edits.def"
#undef EDIT
    EDIT_COUNT
};

struct edit_info {
    const char *name;
    double goal;
    bool heavy;
};
extern const struct edit_info edit_infos[EDIT_COUNT];

uint32_t random_next(uint64_t *seed);                        // splitmix64's upper half
double random_between(uint64_t *seed, double lo, double hi); // uniform

// Makes the copy as it would reach the extractor: edited, compressed, decoded, longer edge at most 512.
// `other` is the neighbour in a collage.
int edit_apply(enum edit edit, const struct pixels *in, const struct pixels *other, uint64_t seed, struct pixels *out);

#endif
