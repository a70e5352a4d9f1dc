// SPDX-License-Identifier: Apache-2.0
// Items through the pipeline: they are uploaded while it is held; then the real server starts on the same data and
// works them off. Its time runs from the moment that it says it began the first item to the moment that the last one is
// seen searchable: reading events and originals, records, thumbnails on the disk and vectors in the index are all in
// it.
#ifndef DEEPLENS_BENCH_THROUGH_H
#define DEEPLENS_BENCH_THROUGH_H

#include "bench.h"
#include "photo.h"

struct through {
    double acks_per_s; // of 16 clients
    double items_per_s;
    double cpu; // seconds an item that the real server took
};

// Servers inherit this process' environment.
void through_pipeline(struct bench *b, const struct photo *photos, size_t photo_count, size_t items, bool thumbnail,
                      struct through *out);

#endif
