// SPDX-License-Identifier: Apache-2.0
// What a worker and the process that started it say to each other. Both are the same program, so structs are sent as
// they are, one a message (SOCK_SEQPACKET).
//
// The worker finds these descriptors: 3 the control socket, 4 the shared memory, 5 … one socket a stream.
//
//   control:  → worker_order, once       ← worker_report, once        closed: the worker ends
//   stream:   → worker_request           ← worker_answer
//
// The shared memory has one room a stream: the pictures of a batch, fitted (picture.h), or texts as tokens (net.h),
// then the vectors, each with the numbers of the labels behind it.
#ifndef DEEPLENS_BACKENDS_EXTRACTOR_WORKER_WIRE_H
#define DEEPLENS_BACKENDS_EXTRACTOR_WORKER_WIRE_H

#include "backends/extractor/net.h"

enum { WORKER_MAGIC = 0x646c7778, WORKER_CONTROL = 3, WORKER_MEMORY = 4, WORKER_STREAMS = 5, WORKER_STREAMS_MAX = 8 };

struct worker_order {
    int magic;
    struct model_spec spec;
    struct net_config config;
};

struct worker_report {
    int rc;
    struct error error;
    size_t dimension;
};

struct worker_request {
    size_t count;
};

struct worker_answer {
    int rc;
    struct error error;
};

static inline size_t worker_picture_bytes(const struct model_spec *spec)
{
    if (spec->tokens)
        return sizeof(int32_t) * (1 + (size_t)spec->tokens); // of a text: how many tokens, then the tokens
    return (size_t)spec->width * (size_t)spec->height * 3;
}

// Where a room's vectors begin; their size is bounded before the dimension is known, and memory that is not touched
// costs nothing.
static inline size_t worker_vectors_at(const struct model_spec *spec, const struct net_config *config)
{
    return (worker_picture_bytes(spec) * (size_t)config->batch_max + 4095) & ~(size_t)4095;
}

static inline size_t worker_room_bytes(const struct model_spec *spec, const struct net_config *config)
{
    size_t dimension = (spec->dimension ? spec->dimension : MODEL_DIMENSION_MAX) + spec->label_count;
    size_t vectors = (size_t)config->batch_max * dimension * sizeof(float);
    return worker_vectors_at(spec, config) + ((vectors + 4095) & ~(size_t)4095);
}

#endif
