// SPDX-License-Identifier: Apache-2.0
// The sweep: files and vectors without an item are removed.
//
// A kill between the moment when a file is durable and the moment when its row is leaves a file that no reader can
// reach (see upload.c). One thread looks for such files at the start and then every interval: it walks the listing of
// the blob store, page by page, and looks each original and thumbnail up by the tenant and the id that its key
// carries. Other keys are nobody's business here and stay.
//
// What is at work is never touched: only files that were last written before this process began are looked at, and a
// file's row is written by the process that wrote the file (who owns the data directory owns it alone). File systems
// round times down, hence MARGIN_MS. Clocks are set back now and then: the time of the start is then reckoned back from
// now, so that it is never too late. What has a row stays, whatever state that is in; deleting is maintain.c's.
//
// A vector comes after its item's row and goes before it, but where an index on a server was given up on (it was
// silent, say) it may do later what it was asked, when the item is gone. So the ids in every collection are looked up
// as well. Here no age matters: what has no row now never gets one.
//
// Killed at any point, the next one begins anew. Throttled: after each page the thread rests REST times as long as
// the page took.
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "flow/step.h"
#include "obs/metrics.h"

enum { PAGE = 64, MARGIN_MS = 2000, REST = 4, REST_MAX_US = 1000000, STOPPED = 1 };

struct found { // a file that was written before the start, or a vector; texts live as long as the page
    const char *tenant, *id;
    const char *key;        // of the file
    const char *collection; // of the vector; NULL: it is a file
    int64_t modified_ms;    // of the file
    bool orphan;
};

struct sweep {
    struct flow *flow;
    int64_t interval_us;
    int64_t started_ms, started_us; // by the clock, and monotonic
    struct arena arena;             // the thread's, as what follows: the page
    struct found page[PAGE];
    size_t count;
    int64_t page_began_us;
    uint64_t removed, removed_vectors; // in this walk
    const char *tenant, *collection;   // where the walk over the vectors is
    struct error *err;

    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t change;
    bool stop; // under lock
};

// Waits; true when the sweep is to stop.
static bool rest(struct sweep *s, int64_t us)
{
    int64_t until = clock_mono_us() + us;
    const struct timespec at = {.tv_sec = until / 1000000, .tv_nsec = until % 1000000 * 1000};
    pthread_mutex_lock(&s->lock);
    while (!s->stop && pthread_cond_timedwait(&s->change, &s->lock, &at) != ETIMEDOUT)
        ;
    bool stop = s->stop;
    pthread_mutex_unlock(&s->lock);
    return stop;
}

static bool is_old(const struct sweep *s, int64_t modified_ms)
{
    int64_t reckoned = clock_now_ms() - (clock_mono_us() - s->started_us) / 1000;
    int64_t started = reckoned < s->started_ms ? reckoned : s->started_ms;
    return modified_ms < started - MARGIN_MS;
}

// Folders of ours below "tenant-NAME/", and what the ids of files in them begin with.
static const struct {
    const char *folder, *prefixes[2];
} ours[] = {{"/images/", {"img"}},  {"/thumbnails/", {"img", "vid"}}, {"/videos/", {"vid"}}, {"/frames/", {"frm"}},
            {"/posters/", {"vid"}}, {"/previews/", {"vid"}},          {"/sprites/", {"vid"}}};

static bool is_ours(const char *path, const char *stem)
{
    char id[ID_MAX];
    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        for (int p = 0; p < 2 && ours[i].prefixes[p]; p++)
            if (strncmp(path, ours[i].folder, strlen(ours[i].folder)) == 0 &&
                id_parse(ours[i].prefixes[p], stem, id) == 0 && strcmp(stem, id) == 0)
                return true;
    return false;
}

// "tenant-NAME/images/…/ID.EXT" and the like; false for all else.
static bool parse_key(struct arena *arena, const char *key, struct found *out)
{
    static const char prefix[] = "tenant-";
    const char *name = key + sizeof prefix - 1, *leaf = strrchr(key, '/');
    if (strncmp(key, prefix, sizeof prefix - 1) != 0)
        return false;
    const char *kind = strchr(name, '/');
    char stem[ID_MAX];
    if (!kind)
        return false;
    size_t len = strcspn(++leaf, ".");
    if (len >= sizeof stem)
        return false;
    memcpy(stem, leaf, len);
    stem[len] = 0;
    if (!is_ours(kind, stem))
        return false;
    out->key = arena_strdup(arena, key);
    out->tenant = arena_printf(arena, "%.*s", (int)(kind - name), name);
    out->id = arena_strdup(arena, stem);
    return true;
}

static int find_orphans(struct meta_tx *tx, void *arg, struct error *err)
{
    struct sweep *s = arg;
    for (size_t i = 0; i < s->count; i++) {
        struct found *file = &s->page[i];
        struct media media;
        struct error why = {0};
        file->orphan = s->flow->meta.ops->media_get(tx, &s->arena, file->tenant, file->id, &media, &why) < 0;
        if (file->orphan && why.code != ERR_NOT_FOUND)
            return error_copy(err, &why);
    }
    return 0;
}

static int remove_orphan(struct sweep *s, const struct found *orphan)
{
    struct flow *f = s->flow;
    if (!orphan->collection && !is_old(s, orphan->modified_ms))
        return 0;
    int rc = orphan->collection ? f->index.ops->remove(f->index.state, orphan->collection, &orphan->id, 1, NULL, s->err)
                                : f->blob.ops->remove(f->blob.state, orphan->key, s->err);
    if (rc < 0)
        return -1;
    metric_add(M_ORPHANS_REMOVED, NULL, 1);
    *(orphan->collection ? &s->removed_vectors : &s->removed) += 1;
    return 0;
}

static int end_page(struct sweep *s)
{
    struct flow *f = s->flow;
    if (s->count && f->meta.ops->read(f->meta.state, find_orphans, s, s->err) < 0)
        return -1;
    for (size_t i = 0; i < s->count; i++)
        if (s->page[i].orphan && remove_orphan(s, &s->page[i]) < 0)
            return -1;
    s->count = 0;
    arena_free(&s->arena);
    int64_t took = clock_mono_us() - s->page_began_us;
    bool stop = rest(s, took < REST_MAX_US / REST ? took * REST : REST_MAX_US);
    s->page_began_us = clock_mono_us();
    return stop ? STOPPED : 0;
}

static int look_at(void *arg, const char *key, const struct blob_info *info)
{
    struct sweep *s = arg;
    struct found *file = &s->page[s->count];
    if (!is_old(s, info->modified_ms) || !parse_key(&s->arena, key, file))
        return 0;
    file->modified_ms = info->modified_ms;
    file->collection = NULL;
    return ++s->count == PAGE ? end_page(s) : 0;
}

static int look_at_vector(void *arg, const char *id)
{
    struct sweep *s = arg;
    s->page[s->count] =
        (struct found){.tenant = s->tenant, .id = arena_strdup(&s->arena, id), .collection = s->collection};
    return ++s->count == PAGE ? end_page(s) : 0;
}

static int walk_collection(struct sweep *s)
{
    const struct index *index = &s->flow->index;
    uint64_t before = s->removed_vectors;
    int rc = index->ops->list_ids(index->state, s->collection, look_at_vector, s, s->err);
    if (rc == 0)
        rc = end_page(s);
    if (rc == 0 && s->removed_vectors > before)
        rc = index->ops->flush(index->state, s->collection, s->err);
    return rc;
}

struct tenants_call {
    struct flow *flow;
    struct arena arena;
    struct meta_tenant *tenants;
    size_t count;
};

static int read_tenants(struct meta_tx *tx, void *arg, struct error *err)
{
    struct tenants_call *call = arg;
    return call->flow->meta.ops->tenant_list(tx, &call->arena, &call->tenants, &call->count, err);
}

static int walk_vectors(struct sweep *s)
{
    struct flow *f = s->flow;
    struct tenants_call call = {.flow = f};
    int rc = f->meta.ops->read(f->meta.state, read_tenants, &call, s->err);
    for (size_t t = 0; rc == 0 && t < call.count; t++) {
        for (size_t m = 0; rc == 0 && m < f->model_count; m++) {
            s->tenant = call.tenants[t].name;
            s->collection = flow_collection(&call.arena, call.tenants[t].slug, f->models[m].model->name);
            rc = walk_collection(s);
        }
    }
    arena_free(&call.arena);
    return rc;
}

// One walk over all files and vectors: 0, -1, or STOPPED.
static int walk(struct sweep *s, struct error *err)
{
    struct flow *f = s->flow;
    s->err = err;
    s->count = 0;
    s->removed = s->removed_vectors = 0;
    s->page_began_us = clock_mono_us();
    int rc = f->blob.ops->list(f->blob.state, "tenant-", look_at, s, err);
    if (rc == 0)
        rc = end_page(s);
    if (rc == 0)
        rc = walk_vectors(s);
    arena_free(&s->arena);
    return rc;
}

static void *sweep_main(void *arg)
{
    struct sweep *s = arg;
    do {
        struct error err = {0};
        int rc = walk(s, &err);
        if (rc < 0)
            log_warn("sweep", "Files and vectors without an item could not be looked for; tried again later: %s",
                     err.message);
        if (s->removed)
            log_info("sweep", "%llu files without an item were removed: uploads that a kill had cut off",
                     (unsigned long long)s->removed);
        if (s->removed_vectors)
            log_info("sweep",
                     "%llu vectors without an item were removed: the index had got them when they were given up",
                     (unsigned long long)s->removed_vectors);
        if (rc == 0)
            metric_add(M_SWEEPS, NULL, 1);
        if (rc == STOPPED)
            break;
    } while (!rest(s, s->interval_us));
    return NULL;
}

int sweep_start(struct flow *f, int64_t interval_ms, struct sweep **out, struct error *err)
{
    struct sweep *s = calloc(1, sizeof *s);
    if (!s)
        return error_set(err, ERR_NO_MEMORY, "No memory for the sweep");
    s->flow = f;
    s->interval_us = interval_ms * 1000;
    s->started_ms = clock_now_ms();
    s->started_us = clock_mono_us();
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->change, &attr);
    pthread_condattr_destroy(&attr);
    int rc = pthread_create(&s->thread, NULL, sweep_main, s);
    if (rc != 0) {
        pthread_cond_destroy(&s->change);
        pthread_mutex_destroy(&s->lock);
        free(s);
        return error_errno(err, ERR_INTERNAL, rc, "The thread of the sweep cannot be started");
    }
    *out = s;
    return 0;
}

void sweep_stop(struct sweep *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_signal(&s->change);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    pthread_cond_destroy(&s->change);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
