// SPDX-License-Identifier: Apache-2.0
// Following changes. Every follower has the number up to which it was given everything (`at`); those who have what the
// thread has read (`newest`) are up to date, and are given what is read next. The others are behind: they are read for
// one by one, a chunk at a time. The store tells of commits; as another process may make some, the thread looks by
// itself now and then, too.
#include "flow/live.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "flow/hook_int.h"

enum {
    CHUNK = 256,             // changes that are read at once
    LOOK_US = 1000 * 1000,   // between two looks without being told
    BEAT_US = 15000 * 1000,  //
    PRUNE_US = 60000 * 1000, //
    PRUNE_MAX = 20000        // rows at once
};

struct live_follower {
    struct live_follower *prev, *next;
    struct live *live;
    char tenant[64];
    const struct live_ops *ops;
    void *arg;
    int64_t at;
    bool full; // it refused a change, and has not asked for more since
    bool held; // it is being read for
};

struct live {
    struct flow *flow;
    int64_t keep_ms;
    pthread_t thread;
    int64_t beat_us, prune_us; // when they are due; the thread's own, as what follows
    struct arena arena;

    pthread_mutex_t lock; // guards what follows
    pthread_cond_t wake;
    pthread_cond_t idle; // no follower is held
    struct live_follower list;
    size_t count;
    int64_t newest;
    bool told, stopping;
    bool more; // those who were full may have room
    void (*also)(void *arg);
    void *also_arg;
};

// --- Reading

struct reading {
    struct live *live;
    const char *tenant; // NULL: of all that somebody follows
    int64_t after;
    struct live_change *changes; // filled, in the arena
    size_t count;
    int64_t last; // up to where was read
};

static bool is_followed(struct live *live, const char *tenant)
{
    pthread_mutex_lock(&live->lock);
    struct live_follower *x = live->list.next;
    while (x != &live->list && strcmp(x->tenant, tenant) != 0)
        x = x->next;
    bool found = x != &live->list;
    pthread_mutex_unlock(&live->lock);
    return found;
}

static int read_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct reading *r = arg;
    struct live *live = r->live;
    struct meta_change *rows;
    size_t count;
    if (live->flow->meta.ops->change_list(tx, &live->arena, r->after, CHUNK, &rows, &count, err) < 0)
        return -1;
    r->changes = arena_alloc(&live->arena, (count + 1) * sizeof *r->changes);
    r->count = 0;
    r->last = count ? rows[count - 1].seq : r->after;
    for (size_t i = 0; i < count; i++) {
        bool wanted = r->tenant ? strcmp(rows[i].tenant, r->tenant) == 0 : is_followed(live, rows[i].tenant);
        if (wanted && change_show(live->flow, tx, &live->arena, &rows[i], &r->changes[r->count++], err) < 0)
            return -1;
    }
    return 0;
}

static bool read_changes(struct reading *r)
{
    struct error why = {0};
    struct flow *f = r->live->flow;
    arena_free(&r->live->arena);
    if (f->meta.ops->read(f->meta.state, read_tx, r, &why) == 0)
        return r->last > r->after;
    log_warn("live", "changes cannot be read at the moment: %s", why.message);
    return false;
}

// --- Giving

// Lock held.
static void give(struct live_follower *x, const struct reading *r)
{
    for (size_t i = 0; i < r->count; i++) {
        if (r->changes[i].seq <= x->at || strcmp(r->changes[i].tenant, x->tenant) != 0)
            continue;
        if (!x->ops->take(x->arg, &r->changes[i])) {
            x->full = true;
            x->at = r->changes[i].seq - 1;
            return;
        }
    }
    x->at = r->last;
}

// What is new, to all who are up to date. False when there is nothing.
static bool give_new(struct live *live)
{
    struct reading r = {.live = live};
    pthread_mutex_lock(&live->lock);
    r.after = live->newest;
    bool anybody = live->count > 0;
    pthread_mutex_unlock(&live->lock);
    if (!anybody || !read_changes(&r))
        return false;
    pthread_mutex_lock(&live->lock);
    for (struct live_follower *x = live->list.next; x != &live->list; x = x->next)
        if (x->at == live->newest)
            give(x, &r);
    live->newest = r.last;
    pthread_mutex_unlock(&live->lock);
    return true;
}

static void append(struct live *live, struct live_follower *x)
{
    x->prev = live->list.prev;
    x->next = &live->list;
    x->prev->next = x->next->prev = x;
}

static void take_out(struct live_follower *x)
{
    x->prev->next = x->next;
    x->next->prev = x->prev;
}

static struct live_follower *behind(struct live *live)
{
    for (struct live_follower *x = live->list.next; x != &live->list; x = x->next)
        if (x->at < live->newest && !x->full)
            return x;
    return NULL;
}

// A chunk to one that is behind. False when nobody is.
static bool give_old(struct live *live)
{
    pthread_mutex_lock(&live->lock);
    struct live_follower *x = behind(live);
    if (x) {
        x->held = true;
        take_out(x);
        append(live, x); // each gets its turn
    }
    struct reading r = {.live = live, .tenant = x ? x->tenant : NULL, .after = x ? x->at : 0};
    pthread_mutex_unlock(&live->lock);
    if (!x)
        return false;
    bool read = read_changes(&r);
    pthread_mutex_lock(&live->lock);
    if (read)
        give(x, &r);
    if (read && x->at == live->newest)
        x->ops->beat(x->arg, x->at); // it is up to date now
    x->held = false;
    pthread_cond_broadcast(&live->idle);
    pthread_mutex_unlock(&live->lock);
    return read;
}

static int prune_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct live *live = arg;
    struct flow *f = live->flow;
    _cleanup_arena_ struct arena arena = {0};
    int64_t born; // what the webhooks are still to be told of stays
    if (hook_cursor(f, tx, &arena, &born, err) < 0)
        return -1;
    return f->meta.ops->change_prune(tx, clock_now_ms() - live->keep_ms, born, PRUNE_MAX, err);
}

static void do_chores(struct live *live, int64_t now)
{
    struct flow *f = live->flow;
    struct error why = {0};
    if (now >= live->prune_us) {
        live->prune_us = now + PRUNE_US;
        if (f->meta.ops->write(f->meta.state, META_RELAXED, prune_tx, live, &why) < 0)
            log_warn("live", "old changes stay for now: %s", why.message);
    }
    if (now < live->beat_us)
        return;
    live->beat_us = now + BEAT_US;
    pthread_mutex_lock(&live->lock);
    for (struct live_follower *x = live->list.next; x != &live->list; x = x->next)
        x->ops->beat(x->arg, x->at);
    pthread_mutex_unlock(&live->lock);
}

static bool wait(struct live *live)
{
    int64_t next = clock_mono_us() + LOOK_US;
    const struct timespec until = {.tv_sec = next / 1000000, .tv_nsec = next % 1000000 * 1000};
    pthread_mutex_lock(&live->lock);
    while (!live->told && !live->stopping &&
           pthread_cond_clockwait(&live->wake, &live->lock, CLOCK_MONOTONIC, &until) == 0)
        ;
    for (struct live_follower *x = live->list.next; live->more && x != &live->list; x = x->next)
        x->full = false;
    live->told = live->more = false;
    bool go = !live->stopping;
    pthread_mutex_unlock(&live->lock);
    return go;
}

static void *follow(void *arg)
{
    struct live *live = arg;
    pthread_setname_np(pthread_self(), "live");
    while (wait(live)) {
        bool some;
        do {
            some = give_new(live);
            some |= give_old(live);
        } while (some && !live->stopping);
        do_chores(live, clock_mono_us());
    }
    return NULL;
}

static void told(void *arg) // on the store's thread
{
    struct live *live = arg;
    pthread_mutex_lock(&live->lock);
    if (live->also)
        live->also(live->also_arg);
    live->told |= live->count > 0;
    if (live->told)
        pthread_cond_signal(&live->wake);
    pthread_mutex_unlock(&live->lock);
}

// --- Followers

struct beginning {
    struct live *live;
    const char *tenant;
    struct arena arena;
    int64_t first, last;
};

static int begin_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct beginning *b = arg;
    const struct meta_ops *ops = b->live->flow->meta.ops;
    struct meta_tenant row;
    if (ops->tenant_get(tx, &b->arena, b->tenant, &row, err) < 0)
        return -1;
    return ops->change_range(tx, &b->first, &b->last, err);
}

static void enter(struct live *live, struct live_follower *x, int64_t last)
{
    pthread_mutex_lock(&live->lock);
    if (!live->count) // nobody read meanwhile
        live->newest = last;
    x->live = live;
    append(live, x);
    live->count++;
    live->told = true;
    pthread_cond_signal(&live->wake);
    pthread_mutex_unlock(&live->lock);
}

int live_follow(struct live *live, const char *tenant, int64_t since, const struct live_ops *ops, void *arg,
                struct live_follower **out, int64_t *seq, bool *gap, struct error *err)
{
    struct beginning b = {.live = live, .tenant = tenant};
    struct flow *f = live->flow;
    if (flow_tenant_check(tenant, err) < 0)
        return -1;
    int rc = f->meta.ops->read(f->meta.state, begin_tx, &b, err);
    arena_free(&b.arena);
    if (rc < 0)
        return -1;
    struct live_follower *x = calloc(1, sizeof *x);
    if (!x)
        return error_set(err, ERR_NO_MEMORY, "No memory to follow changes");
    *gap = since >= 0 && (since < b.first - 1 || since > b.last);
    *seq = x->at = since < 0 || since > b.last ? b.last : *gap ? b.first - 1 : since;
    snprintf(x->tenant, sizeof x->tenant, "%s", tenant);
    x->full = true; // until live_more
    x->ops = ops;
    x->arg = arg;
    *out = x; // before it is called
    enter(live, x, b.last);
    return 0;
}

struct now {
    struct live *live;
    struct arena *arena;
    const char *tenant, *id;
    struct live_change *out;
};

static int now_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct now *now = arg;
    struct media media;
    if (now->live->flow->meta.ops->media_get(tx, now->arena, now->tenant, now->id, &media, err) < 0)
        return -1;
    const struct meta_change c = {
        .at_ms = media.updated_ms, .tenant = media.tenant, .id = media.id, .status = (int)media.status};
    return change_show(now->live->flow, tx, now->arena, &c, now->out, err);
}

int live_now(struct live *live, struct arena *arena, const char *tenant, const char *id, struct live_change *out,
             struct error *err)
{
    char key[ID_MAX];
    if (item_id(id, "img", key, err) < 0)
        return -1;
    struct now now = {live, arena, tenant, arena_strdup(arena, key), out};
    return live->flow->meta.ops->read(live->flow->meta.state, now_tx, &now, err);
}

void live_more(struct live *live)
{
    pthread_mutex_lock(&live->lock);
    live->told = live->more = true;
    pthread_cond_signal(&live->wake);
    pthread_mutex_unlock(&live->lock);
}

void live_leave(struct live_follower *x)
{
    if (!x)
        return;
    struct live *live = x->live;
    pthread_mutex_lock(&live->lock);
    while (x->held)
        pthread_cond_wait(&live->idle, &live->lock);
    take_out(x);
    live->count--;
    pthread_mutex_unlock(&live->lock);
    free(x);
}

void live_also(struct live *live, void (*fn)(void *arg), void *arg)
{
    pthread_mutex_lock(&live->lock);
    live->also = fn;
    live->also_arg = arg;
    pthread_mutex_unlock(&live->lock);
}

size_t live_followers(struct live *live)
{
    pthread_mutex_lock(&live->lock);
    size_t count = live->count;
    pthread_mutex_unlock(&live->lock);
    return count;
}

// --- Start and stop

int live_start(struct flow *f, int64_t keep_ms, struct live **out, struct error *err)
{
    struct live *live = calloc(1, sizeof *live);
    if (!live)
        return error_set(err, ERR_NO_MEMORY, "No memory to follow changes");
    live->flow = f;
    live->keep_ms = keep_ms;
    live->list.prev = live->list.next = &live->list;
    pthread_mutex_init(&live->lock, NULL);
    pthread_cond_init(&live->wake, NULL);
    pthread_cond_init(&live->idle, NULL);
    int rc = pthread_create(&live->thread, NULL, follow, live);
    if (rc != 0) {
        free(live);
        return error_errno(err, ERR_INTERNAL, rc, "Cannot start the thread that follows changes");
    }
    f->meta.ops->change_watch(f->meta.state, told, live);
    *out = live;
    return 0;
}

void live_stop(struct live *live)
{
    if (!live)
        return;
    struct flow *f = live->flow;
    f->meta.ops->change_watch(f->meta.state, NULL, NULL);
    pthread_mutex_lock(&live->lock);
    live->stopping = true;
    pthread_cond_signal(&live->wake);
    pthread_mutex_unlock(&live->lock);
    pthread_join(live->thread, NULL);
    arena_free(&live->arena);
    pthread_mutex_destroy(&live->lock);
    pthread_cond_destroy(&live->wake);
    pthread_cond_destroy(&live->idle);
    free(live);
}
