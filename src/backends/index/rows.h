// SPDX-License-Identifier: Apache-2.0
// The vectors of one collection in memory.
//
// Rows are only ever appended. A row is alive from the write that published it to the write that replaced or
// removed it; each write has a version, and a reader carries the version that it began at. So a reader takes a
// view under the lock (a few words), and then scans without any: what is published later lies behind its
// `count`, what dies later carries a later version. Dead rows go when the living ones are copied to a new
// `struct rows`; readers of the old one keep it until the last of them is done.
//
// Rows lie in chunks of equal size that never move; the table of chunks and the map from ids to rows are
// replaced, never reallocated, when they are full.
//
// Threads: one writer at a time (the caller sees to it). `lock` guards what is marked [lock].
#ifndef DEEPLENS_BACKENDS_INDEX_ROWS_H
#define DEEPLENS_BACKENDS_INDEX_ROWS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backends/index/sketch.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/filter.h"

enum { ROW_ID_MAX = 63 };
#define ROW_ALIVE UINT64_MAX

// What is known of a row beside its vector; behind the terms stands the id with a NUL.
struct item {
    _Atomic uint64_t died; // version of the write that it is gone from; ROW_ALIVE
    uint64_t hash;         // of the id
    uint16_t terms;
    uint8_t id_len;
    struct term term[];
};

static inline const char *item_id(const struct item *item)
{
    return (const char *)(item->term + item->terms);
}

struct chunk {
    float *vectors; // rows of `stride` floats, aligned for the kernels
    uint64_t (*sketches)[SKETCH_WORDS];
    struct item *items[];
};

struct rows {
    size_t dimension;
    size_t stride; // floats from row to row
    unsigned chunk_shift;

    struct chunk **chunks; // [lock] to replace it, and to read it outside of the writer
    size_t chunk_cap;
    uint32_t *map; // [lock] likewise, and for its content: row + 1, or 0
    size_t map_size;

    uint32_t count;     // [lock] published
    uint64_t version;   // [lock] of the last write
    unsigned refs;      // [lock] views, and the collection
    size_t live;        // [lock]
    uint64_t live_size; // what the living items take in a file
    size_t chunk_count;
    struct slab *slabs; // memory of the items, the newest first
    struct slab *mark;  // the newest at rows_reserve
    size_t mark_used;
    struct retired *retired;
};

struct view {
    struct rows *rows;
    struct chunk **chunks;
    uint32_t count;
    uint64_t version;
};

struct rows *rows_new(size_t dimension); // with one reference; NULL when memory is short
void rows_free(struct rows *r);          // takes NULL
DEFINE_CLEANUP(struct rows *, rows, rows_free)
#define _cleanup_rows_ _cleanup_(cleanup_rows)

// ---- The writer ----

// Makes room for `more` rows; `lock` (NULL: nobody else knows the rows yet) is held while tables are swapped.
int rows_reserve(struct rows *r, size_t more, pthread_mutex_t *lock, struct error *err);

// Stages row `count + ahead`, which readers do not see yet, and returns its vector for the caller to fill.
// NULL when memory is short.
float *rows_stage(struct rows *r, size_t ahead, const char *id, size_t id_len, const struct term *terms,
                  size_t term_count);

// The vector of a staged row is filled: its sketch is made from it.
void rows_filled(struct rows *r, size_t ahead);

// Gives back what was staged since rows_reserve.
void rows_unstage(struct rows *r);

// Makes `staged` rows alive at a new version, each in place of an older one with its id. Holds the lock.
void rows_publish(struct rows *r, size_t staged);

// The living row of an id; -1 when there is none.
int64_t rows_find(const struct rows *r, const char *id, size_t id_len);

// Ends rows at a new version. Each must be alive, and named once. Holds the lock.
void rows_kill(struct rows *r, const uint32_t *rows, size_t count);

// Copies what is alive to `to`, which must be empty.
int rows_copy_live(const struct rows *from, struct rows *to, struct error *err);

// ---- Access ----

static inline struct item *rows_item(const struct rows *r, uint32_t row)
{
    return r->chunks[row >> r->chunk_shift]->items[row & ((1U << r->chunk_shift) - 1)];
}

static inline float *rows_vector(const struct rows *r, uint32_t row)
{
    return r->chunks[row >> r->chunk_shift]->vectors + (row & ((1U << r->chunk_shift) - 1)) * r->stride;
}

#endif
