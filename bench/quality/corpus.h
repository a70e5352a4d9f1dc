// SPDX-License-Identifier: Apache-2.0
// The pictures that the quality figures are measured on: photos from folders, and tiles cut from them until there
// are enough. A photo and all of its tiles are on the same side of the split between tuning and held-out.
#ifndef DEEPLENS_BENCH_QUALITY_CORPUS_H
#define DEEPLENS_BENCH_QUALITY_CORPUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pixels.h"

enum { EDGE_SOURCE = 1024, EDGE_EXTRACT = 512 }; // copies are made from the larger, vectors from the smaller

struct sample {
    int photo; // which photo it is or was cut from
    bool tile;
    bool held_out;
    bool flat;            // hardly anything to see
    uint64_t work;        // the same for pictures that are versions of one work
    struct pixels source; // longer edge at most EDGE_SOURCE
};

struct corpus {
    struct sample *items; // the photos first, then the tiles
    size_t count, photos, tiles;
    size_t files, unreadable, repeated, flat_tiles; // seen in the folders; left out, and why
};

// Deterministic: files are taken in the order of their names. Fewer than `want` items when the photos give no more.
int corpus_load(struct corpus *c, char *const *folders, size_t folder_count, size_t want);
void corpus_free(struct corpus *c);

// Scales down so that the longer edge is at most `edge`; a copy when it is already.
void shrink_to(const struct pixels *in, int edge, struct pixels *out);

#endif
