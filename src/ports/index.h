// SPDX-License-Identifier: Apache-2.0
// Port: index, where vectors are kept and searched by cosine similarity.
//
// A collection holds the vectors of one tenant under one model; its name is made by flow/
// ("tenant_acmecorp_builtin_vectors": [a-z0-9_], at most 200 bytes). Vectors have the collection's dimension
// (1 to 65536), are finite and L2-normalised by the caller (|v|² within 1e-3 of 1); others are refused with
// ERR_INVALID_VECTOR and nothing of the batch is applied.
//
// Ids are at most 63 bytes. Upserting an id again replaces its vector and payload: redelivery is harmless (G3).
//
// Threads: any. Searches run beside each other and beside writers, and see each write whole or not at all (on a server
// perhaps each of its points). What upsert and delete did is visible to searches that start after they returned, and
// durable once a `flush` that started after them has returned (G4: offsets are committed after that).
//
// A back end on a server that is away fails with ERR_UNAVAILABLE, an outage. What the call was to do may have been
// done, or a part of it; doing it again is harmless.
#ifndef DEEPLENS_PORTS_INDEX_H
#define DEEPLENS_PORTS_INDEX_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/filter.h"

struct index_point {
    const char *id;
    const float *vector;
    const json_t *payload; // object for filters, or NULL; read only during the call
};

struct index_query {
    const float *vector;
    size_t dimension;            // of the vector; not the collection's: ERR_CONFLICT. 0: it is known to be the same
    size_t k;                    // 1 … 10000
    float min_score;             // hits below are left out; -1 for all
    const struct filter *filter; // NULL: none
    float accuracy;              // 0 … 1: how hard to look where the index is approximate; below 1, and with a high
                                 // min_score, many times quicker
};

struct index_hit {
    const char *id; // in the arena
    float score;    // cosine, -1 … 1
};

struct index_ops {
    const char *name;

    int (*open)(const char *location, void **state, struct error *err);
    void (*close)(void *state); // flushes

    // Makes the collection when missing. One that is there with another dimension: ERR_CONFLICT.
    int (*ensure)(void *state, const char *collection, size_t dimension, struct error *err);
    // Names in byte order, in the arena.
    int (*list)(void *state, struct arena *arena, const char ***names, size_t *count, struct error *err);
    int (*drop)(void *state, const char *collection, struct error *err); // durable; 0 when there is none

    // The whole batch or nothing. ERR_NOT_FOUND without the collection.
    int (*upsert)(void *state, const char *collection, const struct index_point *points, size_t count,
                  struct error *err);
    // Ids that are not there are passed over; `removed` (may be NULL) counts the others. A collection that
    // does not exist has nothing to remove.
    int (*remove)(void *state, const char *collection, const char *const *ids, size_t count, size_t *removed,
                  struct error *err);

    // At most k hits, best first, equal scores by id (byte order). A missing collection gives no hits.
    int (*search)(void *state, const char *collection, const struct index_query *query, struct arena *arena,
                  struct index_hit **hits, size_t *count, struct error *err);
    // The stored vector of one id (in the arena). ERR_NOT_FOUND.
    int (*get)(void *state, const char *collection, const char *id, struct arena *arena, float **vector,
               size_t *dimension, struct error *err);
    int (*count)(void *state, const char *collection, size_t *out, struct error *err); // 0 when missing

    // Every id once, in no order, until `each` returns other than 0, which is returned then. It may take long and
    // remove what it is shown; what is written or removed meanwhile may be shown or not. A missing collection has none.
    int (*list_ids)(void *state, const char *collection, int (*each)(void *arg, const char *id), void *arg,
                    struct error *err);

    int (*flush)(void *state, const char *collection, struct error *err); // NULL: all collections

    // Gives back what removed and replaced vectors still take; in *freed how many bytes, or would (`dry_run`), were.
    // What does so by itself has nothing to do. A missing collection neither. Writers of the collection may wait
    // meanwhile.
    int (*tidy)(void *state, const char *collection, bool dry_run, uint64_t *freed, struct error *err);

    // 0, or why vectors cannot be written and searched at the moment. Asks whom it depends on, once a second at most.
    int (*health)(void *state, struct error *err);
};

struct index { // an opened back end
    const struct index_ops *ops;
    void *state;
};

#endif
