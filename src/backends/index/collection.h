// SPDX-License-Identifier: Apache-2.0
// One collection: its rows in memory and its file.
//
// Three locks, taken in this order. `sync` is held by who flushes or rewrites; those who wait for it find that
// the sync before them has done their work too. `write` is held by who appends, in the file and to the rows.
// `lock` is held for moments only: to publish what was written, and to take a view. A search holds none of
// them while it scans.
#ifndef DEEPLENS_BACKENDS_INDEX_COLLECTION_H
#define DEEPLENS_BACKENDS_INDEX_COLLECTION_H

#include "backends/index/kernel.h"
#include "backends/index/rows.h"
#include "backends/index/vecfile.h"
#include "ports/index.h"

enum { COLLECTION_NAME_MAX = 200, DIMENSION_MAX = 65536, SEARCH_K_MAX = 10000 };

struct collection {
    char name[COLLECTION_NAME_MAX + 1];
    int dir; // borrowed
    const struct kernel *kernel;
    size_t dimension;
    atomic_uint refs;

    pthread_mutex_t sync;
    pthread_mutex_t write;
    struct vecfile file;    // [write]; file.fd changes under sync and write
    bool dropped;           // [write]
    bool rewrite;           // [write] a sync failed: only a new file can be trusted
    uint64_t rewrite_above; // [write] garbage below this is left alone

    pthread_mutex_t lock;
    struct rows *rows; // [lock]; changes under sync, write and lock
};

bool collection_name_ok(const char *name);

// Both give one reference.
int collection_create(int dir, const struct kernel *kernel, const char *name, size_t dimension, struct collection **out,
                      struct error *err);
int collection_load(int dir, const struct kernel *kernel, const char *name, struct collection **out, struct error *err);
struct collection *collection_ref(struct collection *c);
void collection_unref(struct collection *c); // takes NULL
DEFINE_CLEANUP(struct collection *, collection, collection_unref)
#define _cleanup_collection_ _cleanup_(cleanup_collection)

// Unlinks the file; all writes from now on fail with ERR_NOT_FOUND. The caller syncs the folder.
int collection_drop(struct collection *c, struct error *err);

int collection_upsert(struct collection *c, const struct index_point *points, size_t count, struct error *err);
int collection_remove(struct collection *c, const char *const *ids, size_t count, size_t *removed, struct error *err);
int collection_flush(struct collection *c, struct error *err);
// Rewrites the file when more than a TIDY_PART of it is garbage, durably.
enum { TIDY_PART = 10 };
int collection_tidy(struct collection *c, bool dry_run, uint64_t *freed, struct error *err);

int collection_search(struct collection *c, const struct index_query *query, struct arena *arena,
                      struct index_hit **hits, size_t *count, struct error *err);
int collection_get(struct collection *c, const char *id, struct arena *arena, float **vector, size_t *dimension,
                   struct error *err);
size_t collection_count(struct collection *c);
int collection_list_ids(struct collection *c, int (*each)(void *arg, const char *id), void *arg);

// A view stays as it is until it is released, whatever is written meanwhile.
struct view collection_view(struct collection *c);
void collection_release(struct collection *c, struct view *view);

// ERR_INVALID_VECTOR unless finite and of length 1; `whose` names it in the message.
int vector_check(const float *vector, size_t dimension, const char *whose, struct error *err);

#endif
