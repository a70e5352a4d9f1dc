// SPDX-License-Identifier: Apache-2.0
// The thread that carries rebuilds out, a page of a scope at a time: look, ask, wait, move on. See rebuild.h.
//
//   look   one snapshot: the page behind the note's place, and what each item has under the two models
//   ask    one transaction: a request event for each vector that is missing, and the item's steps say so
//   wait   until each is indexed, failed for good, or its item is gone; what does not move for PATIENCE is asked again
//          (its event may be gone with a topic that was made anew)
//   move   one transaction: counters and place; at the end of the pass the next state, and the switch
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/js.h"
#include "base/log.h"
#include "flow/near.h"
#include "flow/rebuild.h"
#include "flow/step.h"
#include "obs/metrics.h"

enum { POLL_MS = 20, IDLE_MS = 10000, FAULT_MS = 1000, FIRST_PAGE = 8, LATE_MS = 60000 };
#define PATIENCE_US (INT64_C(600) * 1000000)

struct rebuilder {
    struct flow *flow;
    int64_t search_limit_us; // 0: no limit
    size_t page_size;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t change;
    bool stop, woken; // under lock
};

enum item_state { ITEM_ASIDE, ITEM_PRESENT, ITEM_TO_ASK, ITEM_ASKED, ITEM_BUILT, ITEM_FAILED, ITEM_GONE };

struct page { // everything in the arena
    struct rebuilder *r;
    struct arena *arena;
    struct rebuild_note note;
    const struct flow_model *model;
    const char *tenant, *collection; // NULL: no tenant is left
    struct media *rows;
    size_t count;
    bool last; // of the tenant
    enum item_state items[REBUILD_PAGE];
    struct emit emits[REBUILD_PAGE];
    bool replaced; // the note is another one by now
};

// Waits; true when the thread is to stop.
static bool rest(struct rebuilder *r, int64_t us, bool until_woken)
{
    int64_t until = clock_mono_us() + us;
    const struct timespec at = {.tv_sec = until / 1000000, .tv_nsec = until % 1000000 * 1000};
    pthread_mutex_lock(&r->lock);
    while (!r->stop && !(until_woken && r->woken) && pthread_cond_timedwait(&r->change, &r->lock, &at) != ETIMEDOUT)
        ;
    r->woken = r->woken && !until_woken;
    bool stop = r->stop;
    pthread_mutex_unlock(&r->lock);
    return stop;
}

// --- Look

static const struct media_step *row_of(const struct media_step *rows, size_t count, const char *step, const char *model)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].step, step) == 0 && strcmp(rows[i].model, model) == 0)
            return &rows[i];
    return NULL;
}

static bool is(const struct media_step *row, const char *status)
{
    return row && strcmp(row->status, status) == 0;
}

static bool takes_part(const struct rebuild_note *n, const struct media_step *from)
{
    return strcmp(n->from, n->to) == 0 ? from != NULL : is(from, "completed");
}

static enum item_state state_of(const struct rebuild_note *n, const struct media *media, const struct media_step *rows,
                                size_t count)
{
    const struct media_step *from = row_of(rows, count, "vector_indexing", n->from),
                            *to = row_of(rows, count, "vector_indexing", n->to),
                            *extracted = row_of(rows, count, "feature_extraction", n->to);
    bool failed = is(to, "failed") || is(extracted, "failed"), fresh = media->uploaded_ms >= n->started_ms;
    if (!takes_part(n, from) || near_rejected(media))
        return ITEM_ASIDE;
    if (strcmp(n->from, n->to) == 0)
        return fresh ? ITEM_PRESENT : ITEM_TO_ASK; // what came in since was made by this very model
    if (is(to, "completed"))
        return ITEM_PRESENT;
    if (n->state == REBUILD_CLOSING && failed) // counted in the pass before, unless it came after that
        return fresh ? ITEM_FAILED : ITEM_ASIDE;
    return to && fresh && !failed ? ITEM_ASKED : ITEM_TO_ASK; // by a follower's request (index.c)
}

static int next_tenant(struct page *p, struct meta_tx *tx, struct error *err)
{
    struct flow *f = p->r->flow;
    struct meta_tenant *tenants;
    size_t count;
    bool covered = false;
    if (f->meta.ops->tenant_list(tx, p->arena, &tenants, &count, err) < 0)
        return -1;
    for (size_t i = 0; i < count && !covered; i++) { // by name
        if (p->note.tenant && strcmp(tenants[i].name, p->note.tenant) < 0)
            continue;
        if (rebuild_covers(f, tx, p->arena, &p->note, tenants[i].name, &covered, err) < 0)
            return -1;
        if (!covered)
            continue;
        p->tenant = tenants[i].name;
        p->collection = flow_collection(p->arena, tenants[i].slug, p->note.to);
        if (p->note.tenant && strcmp(p->tenant, p->note.tenant) != 0)
            p->note.before_ms = 0; // the one before is not gone through any more
    }
    return 0;
}

static int look_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct page *p = arg;
    struct flow *f = p->r->flow;
    const struct meta_ops *meta = f->meta.ops;
    if (rebuild_note_get(f, tx, p->arena, p->note.scope, &p->note, err) < 0)
        return -1;
    if (!rebuild_runs(&p->note))
        return 0;
    if (next_tenant(p, tx, err) < 0)
        return -1;
    if (!p->tenant)
        return 0;
    const struct media_query query = {.tenant = p->tenant,
                                      .before_ms = p->note.before_ms,
                                      .before_id = p->note.before_id,
                                      .from_ms = p->note.floor_ms,
                                      .frames = true,
                                      .limit = p->r->page_size};
    if (meta->media_list(tx, p->arena, &query, &p->rows, &p->count, err) < 0)
        return -1;
    p->last = p->count < query.limit;
    for (size_t i = 0; i < p->count; i++) {
        struct media_step *steps_of;
        size_t count;
        if (meta->step_list(tx, p->arena, p->tenant, p->rows[i].id, &steps_of, &count, err) < 0)
            return -1;
        p->items[i] = state_of(&p->note, &p->rows[i], steps_of, count);
    }
    return 0;
}

// The steps may speak of a collection that was dropped since.
static int verify(struct page *p, struct error *err)
{
    const struct index *index = &p->r->flow->index;
    for (size_t i = 0; i < p->count; i++) {
        float *vector;
        size_t dimension;
        struct error why = {0};
        if (p->items[i] != ITEM_PRESENT)
            continue;
        if (index->ops->get(index->state, p->collection, p->rows[i].id, p->arena, &vector, &dimension, &why) == 0)
            continue;
        if (why.code != ERR_NOT_FOUND)
            return error_copy(err, &why);
        p->items[i] = ITEM_TO_ASK;
    }
    return 0;
}

// --- Ask

static bool same_run(const struct rebuild_note *a, const struct rebuild_note *b)
{
    return rebuild_runs(a) && a->state == b->state && a->started_ms == b->started_ms && strcmp(a->to, b->to) == 0;
}

static int ask_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct page *p = arg;
    struct flow *f = p->r->flow;
    struct rebuild_note now;
    if (rebuild_note_get(f, tx, p->arena, p->note.scope, &now, err) < 0)
        return -1;
    p->replaced = !same_run(&now, &p->note);
    for (size_t i = 0; i < p->count && !p->replaced; i++) {
        struct error why = {0};
        if (p->items[i] != ITEM_TO_ASK)
            continue;
        int rc = media_request(f, tx, &p->rows[i], p->note.to, &why);
        if (rc < 0 && why.code != ERR_NOT_FOUND)
            return error_copy(err, &why);
        if (rc == 0 && flow_publish_tx(f, tx, &p->emits[i], err) < 0) // an item that is gone is asked for no more
            return -1;
    }
    return 0;
}

static int ask(struct page *p, struct error *err)
{
    struct flow *f = p->r->flow;
    size_t asked = 0;
    for (size_t i = 0; i < p->count; i++)
        if (p->items[i] == ITEM_TO_ASK) {
            asked++;
            if (extraction_request(p->r->flow, p->arena, &p->rows[i], p->model, &p->emits[i], err) < 0)
                return -1;
        }
    if (!asked)
        return 0;
    if (flow_check_outbox(f, err) < 0 || f->meta.ops->write(f->meta.state, META_RELAXED, ask_tx, p, err) < 0)
        return -1;
    for (size_t i = 0; i < p->count; i++)
        if (p->items[i] == ITEM_TO_ASK)
            p->items[i] = ITEM_ASKED;
    return 0;
}

// --- Wait

struct poll_call {
    struct page *page;
    struct arena arena;
    bool waiting, moved;
};

static int poll_one(struct poll_call *call, struct meta_tx *tx, size_t i, struct error *err)
{
    struct page *p = call->page;
    const struct meta_ops *meta = p->r->flow->meta.ops;
    struct media media;
    struct media_step *rows;
    size_t count;
    struct error why = {0};
    int rc = meta->media_get(tx, &call->arena, p->tenant, p->rows[i].id, &media, &why);
    if (rc < 0 && why.code != ERR_NOT_FOUND)
        return error_copy(err, &why);
    if (rc < 0 || media.status == MEDIA_DELETING) {
        p->items[i] = ITEM_GONE;
        return 0;
    }
    if (meta->step_list(tx, &call->arena, p->tenant, media.id, &rows, &count, err) < 0)
        return -1;
    const struct media_step *to = row_of(rows, count, "vector_indexing", p->note.to);
    if (is(to, "completed"))
        p->items[i] = ITEM_BUILT;
    else if (is(to, "failed") || is(row_of(rows, count, "feature_extraction", p->note.to), "failed"))
        p->items[i] = ITEM_FAILED;
    return 0;
}

// Up to the first that is still waited for: the others are looked at when it is over.
static int poll_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct poll_call *call = arg;
    struct page *p = call->page;
    for (size_t i = 0; i < p->count && !call->waiting; i++) {
        if (p->items[i] != ITEM_ASKED)
            continue;
        if (poll_one(call, tx, i, err) < 0)
            return -1;
        call->waiting = p->items[i] == ITEM_ASKED;
        call->moved |= !call->waiting;
    }
    return 0;
}

// 1: the page is over; 0: it is to be looked at again, or the thread is to stop.
static int wait_for_page(struct page *p, struct error *err)
{
    struct flow *f = p->r->flow;
    int64_t moved_us = clock_mono_us();
    for (;;) {
        struct poll_call call = {.page = p};
        int rc = f->meta.ops->read(f->meta.state, poll_tx, &call, err);
        arena_free(&call.arena);
        if (rc < 0)
            return -1;
        if (!call.waiting)
            return 1;
        if (call.moved)
            moved_us = clock_mono_us();
        if (clock_mono_us() - moved_us > PATIENCE_US || rest(p->r, POLL_MS * 1000, false))
            return 0;
    }
}

// --- Move on

static size_t count_of(const struct page *p, enum item_state state)
{
    size_t n = 0;
    for (size_t i = 0; i < p->count; i++)
        n += p->items[i] == state;
    return n;
}

static int end_pass(struct page *p, struct meta_tx *tx, struct rebuild_note *n, struct error *err)
{
    bool reindex = strcmp(n->from, n->to) == 0;
    n->tenant = n->before_id = NULL;
    n->before_ms = 0;
    if (!reindex && n->failed && !n->skip_failed) {
        n->state = REBUILD_BLOCKED;
    } else if (!reindex && n->state == REBUILD_BUILDING) {
        n->state = n->hold ? REBUILD_READY : REBUILD_CLOSING;
        n->floor_ms = n->started_ms - LATE_MS;
    } else {
        n->state = REBUILD_DONE;
        n->ended_ms = clock_now_ms();
        if (!reindex && flow_model_choose(p->r->flow, tx, n->scope, n->to, err) < 0)
            return -1;
    }
    return 0;
}

static int move_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct page *p = arg;
    struct flow *f = p->r->flow;
    struct rebuild_note now;
    if (rebuild_note_get(f, tx, p->arena, p->note.scope, &now, err) < 0)
        return -1;
    p->replaced = !same_run(&now, &p->note);
    if (p->replaced)
        return 0;
    bool first_pass = now.state == REBUILD_BUILDING;
    now.built += count_of(p, ITEM_BUILT);
    now.failed += count_of(p, ITEM_FAILED);
    now.present += first_pass ? count_of(p, ITEM_PRESENT) : 0;
    now.seen += first_pass ? p->count : 0;
    now.tenant = p->tenant;
    if (p->count) {
        now.before_ms = p->rows[p->count - 1].uploaded_ms;
        now.before_id = p->rows[p->count - 1].id;
    }
    if (p->tenant && p->last) {
        now.tenant = arena_printf(p->arena, "%s-", p->tenant); // the least name behind this one is not before that
        now.before_ms = 0;
    }
    if (!p->tenant && end_pass(p, tx, &now, err) < 0)
        return -1;
    p->note = now;
    return rebuild_note_put(f, tx, &now, err);
}

static void tell(const struct rebuild_note *n)
{
    const char *whose = n->scope ? n->scope : "everybody";
    if (n->state == REBUILD_DONE)
        log_info("rebuild", "%s, %s: done, %llu vectors made, %llu were there, %llu failed", whose, n->to,
                 (unsigned long long)n->built, (unsigned long long)n->present, (unsigned long long)n->failed);
    else if (n->state == REBUILD_BLOCKED)
        log_warn("rebuild",
                 "%s stays with %s: %llu pictures failed under %s; see `deeplens dlq list`, then `deeplens models use "
                 "%s` to try them again, or with --skip-failed to go on without them",
                 whose, n->from, (unsigned long long)n->failed, n->to, n->to);
    else if (n->state == REBUILD_READY)
        log_info("rebuild", "%s, %s: all vectors are made; `deeplens models use %s` switches", whose, n->to, n->to);
}

static int move_on(struct page *p, struct error *err)
{
    struct flow *f = p->r->flow;
    if (f->meta.ops->write(f->meta.state, META_SYNCED, move_tx, p, err) < 0)
        return -1;
    metric_add(M_REBUILT, "built", count_of(p, ITEM_BUILT));
    metric_add(M_REBUILT, "present", count_of(p, ITEM_PRESENT));
    metric_add(M_REBUILT, "failed", count_of(p, ITEM_FAILED));
    if (!p->tenant && !p->replaced)
        tell(&p->note);
    return 0;
}

// --- A page of a scope

static void throttle(struct rebuilder *r, int64_t took_us)
{
    int64_t worst = atomic_exchange(&r->flow->search_worst_us, 0);
    if (r->search_limit_us && worst > r->search_limit_us) {
        r->page_size = r->page_size > 1 ? r->page_size / 2 : 1;
        rest(r, took_us, false);
    } else {
        r->page_size = r->page_size < REBUILD_PAGE / 2 ? r->page_size * 2 : REBUILD_PAGE;
    }
}

static int do_page(struct rebuilder *r, const char *scope, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct flow *f = r->flow;
    struct page p = {.r = r, .arena = &arena, .note.scope = scope};
    int64_t began = clock_mono_us();
    if (f->meta.ops->read(f->meta.state, look_tx, &p, err) < 0)
        return -1;
    if (!rebuild_runs(&p.note))
        return 0;
    if (flow_model(f, p.note.to, &p.model, err) < 0)
        return -1;
    if (verify(&p, err) < 0 || ask(&p, err) < 0)
        return -1;
    int over = p.replaced ? 0 : wait_for_page(&p, err);
    if (over > 0 && move_on(&p, err) < 0)
        return -1;
    throttle(r, clock_mono_us() - began);
    return over < 0 ? -1 : 0;
}

// --- All scopes

struct scopes {
    struct rebuilder *r;
    struct arena arena;
    const char **running; // NULL: everybody
    size_t count;
};

static int scopes_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct scopes *s = arg;
    struct flow *f = s->r->flow;
    struct meta_tenant *tenants;
    size_t count;
    if (f->meta.ops->tenant_list(tx, &s->arena, &tenants, &count, err) < 0)
        return -1;
    s->running = arena_alloc(&s->arena, (count + 1) * sizeof *s->running);
    for (size_t i = 0; i <= count; i++) {
        struct rebuild_note note;
        const char *scope = i ? tenants[i - 1].name : NULL;
        if (rebuild_note_get(f, tx, &s->arena, scope, &note, err) < 0)
            return -1;
        if (rebuild_runs(&note))
            s->running[s->count++] = scope;
    }
    return 0;
}

// Pages of all scopes in turn. 1: there is more to do; 0: nothing runs; -1.
static int round_of(struct rebuilder *r, struct error *err)
{
    struct scopes s = {.r = r};
    struct error first = {0};
    int rc = r->flow->meta.ops->read(r->flow->meta.state, scopes_tx, &s, err);
    for (size_t i = 0; rc == 0 && i < s.count && !rest(r, 0, false); i++) {
        struct error why = {0};
        if (do_page(r, s.running[i], &why) < 0 && !first.code)
            first = why;
    }
    if (rc == 0 && first.code) // one that cannot go on does not hold the others up
        rc = error_copy(err, &first);
    size_t count = s.count;
    arena_free(&s.arena);
    return rc < 0 ? -1 : count > 0;
}

static void *rebuilder_main(void *arg)
{
    struct rebuilder *r = arg;
    char told[sizeof((struct error *)0)->message] = "";
    for (bool stop = false; !stop;) {
        struct error err = {0};
        int rc = round_of(r, &err);
        if (rc < 0 && strcmp(told, err.message) != 0) {
            log_warn("rebuild", "A rebuild cannot go on at the moment; tried again: %s", err.message);
            memcpy(told, err.message, sizeof told);
        }
        if (rc >= 0)
            told[0] = 0;
        stop = rc < 0 ? rest(r, FAULT_MS * 1000, false) : rest(r, rc ? 0 : IDLE_MS * 1000, rc == 0);
    }
    return NULL;
}

int rebuilder_start(struct flow *f, int64_t search_limit_us, struct rebuilder **out, struct error *err)
{
    struct rebuilder *r = calloc(1, sizeof *r);
    if (!r)
        return error_set(err, ERR_NO_MEMORY, "No memory for the rebuilder");
    r->flow = f;
    r->search_limit_us = search_limit_us;
    r->page_size = FIRST_PAGE;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->change, &attr);
    pthread_condattr_destroy(&attr);
    int rc = pthread_create(&r->thread, NULL, rebuilder_main, r);
    if (rc != 0) {
        pthread_cond_destroy(&r->change);
        pthread_mutex_destroy(&r->lock);
        free(r);
        return error_errno(err, ERR_INTERNAL, rc, "The thread of the rebuilder cannot be started");
    }
    *out = r;
    return 0;
}

void rebuilder_wake(struct rebuilder *r)
{
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->woken = true;
    pthread_cond_signal(&r->change);
    pthread_mutex_unlock(&r->lock);
}

void rebuilder_stop(struct rebuilder *r)
{
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->stop = true;
    pthread_cond_signal(&r->change);
    pthread_mutex_unlock(&r->lock);
    pthread_join(r->thread, NULL);
    pthread_cond_destroy(&r->change);
    pthread_mutex_destroy(&r->lock);
    free(r);
}
