// SPDX-License-Identifier: Apache-2.0
// The generator of uploads: one thread, epoll, raw sockets that are kept alive. Each connection sends its next body
// when the last one was answered. All the bytes are ready beforehand, so that it takes little of the processors that it
// shares with what it measures; both sides of a comparison are driven by it.
#ifndef DEEPLENS_BENCH_LOAD_H
#define DEEPLENS_BENCH_LOAD_H

#include "bench.h"
#include "photo.h"

struct load {
    const char *address;
    const char *target; // "/api/v1/images/upload?…"
    int connections;
    const struct photo *photos; // sent in turn, each with a tail of its own
    size_t photo_count;
    size_t uploads; // sent in all
};

struct load_result {
    double seconds;
    double per_second;
    struct series latency; // ms, from the first byte sent to the last received
    char first_ids[32][64];
    size_t first_id_count;
};

// Fails when an answer is not 202.
void load_run(const struct load *load, struct load_result *out);
void load_result_free(struct load_result *r);

#endif
