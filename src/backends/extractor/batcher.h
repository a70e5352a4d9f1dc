// SPDX-License-Identifier: Apache-2.0
// The queue in front of a model: pictures of many callers go through it in common batches.
//
// It has no thread and no clock. A caller that finds a stream free runs what is waiting, its own pictures among it, as
// one batch; a caller that finds none waits. So an idle model takes a picture at once, and batches fill by themselves
// exactly when pictures come faster than they are worked off.
#ifndef DEEPLENS_BACKENDS_EXTRACTOR_BATCHER_H
#define DEEPLENS_BACKENDS_EXTRACTOR_BATCHER_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { BATCHER_STREAMS_MAX = 8 };

struct batcher_config {
    int streams;                                                          // that run at once
    size_t batch_max;                                                     // pictures of one run
    size_t picture;                                                       // bytes of one
    size_t dimension;                                                     // numbers of one vector
    void *model;                                                          // for the functions
    uint8_t *(*pictures)(void *model, int stream);                        // room of batch_max pictures
    int (*run)(void *model, int stream, size_t count, struct error *err); // on what is in the room
    const float *(*vectors)(void *model, int stream);                     // what run left
};

struct batcher;

struct batcher *batcher_new(const struct batcher_config *config); // the config is copied; aborts without memory
void batcher_free(struct batcher *b);                             // nobody may be in batcher_run; takes NULL

// Runs `count` (1 … batch_max) pictures and writes their vectors; blocks until done. When a batch of several callers
// fails, each one's pictures are run again by themselves, so that nobody fails for another's picture.
int batcher_run(struct batcher *b, const uint8_t *pictures, size_t count, float *vectors, struct error *err);

#endif
