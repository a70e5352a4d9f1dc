// SPDX-License-Identifier: Apache-2.0
// The peer of the pipeline: the same work in a tight loop, from memory to memory, nothing around it.
#ifndef DEEPLENS_BENCH_WORK_H
#define DEEPLENS_BENCH_WORK_H

#include "bench.h"
#include "photo.h"
#include "ports/extractor.h"

struct work {
    struct extractor extractor;
    const struct extractor_model *model;
    int edge, quality;   // of thumbnails, as configured by default
    uint64_t max_pixels; // likewise
    bool details;        // whether extracting looks for them, too (search.closer), likewise
};

void work_open(const struct bench *b, struct work *w);                                      // with b's model
const struct extractor_model *work_find_model(const struct extractor *x, const char *name); // NULL when it is not there
void work_close(struct work *w);
// Decode, thumbnail if wanted, extract (the vector, and details as the step does): one picture, on this thread.
void work_once(const struct work *w, const struct photo *photo, bool thumbnail);
// `items` pictures on `threads` threads; seconds that it took.
double work_loop(const struct work *w, const struct photo *photos, size_t photo_count, size_t items, bool thumbnail,
                 int threads);

#endif
