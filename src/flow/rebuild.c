// SPDX-License-Identifier: Apache-2.0
// What is asked of rebuilds, and what they ask of the steps; rebuilder.c carries them out. See rebuild.h.
#include "flow/rebuild.h"

#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "base/js.h"
#include "flow/admin.h"

enum { LATE_MS = 60000 }; // an upload that had chosen its model when the default changed is accepted within that

struct call {
    struct flow *flow;
    struct arena arena;
    const struct rebuild_wish *wish;
    const char *model, *current; // asked for; the scope's default now
    uint64_t total;
};

// --- Beginning

// Old changes are kept, so that what comes late follows them all.
static void begin_anew(struct rebuild_note *n, const struct call *call, const char *from)
{
    if (n->state == REBUILD_DONE && strcmp(n->from, n->to) != 0) {
        if (n->past_count == REBUILD_PAST)
            memmove(n->past, n->past + 1, --n->past_count * sizeof n->past[0]);
        n->past[n->past_count++] = (struct rebuild_follow){n->from, n->to, n->ended_ms + LATE_MS};
    }
    n->state = REBUILD_BUILDING;
    n->from = from;
    n->to = call->model;
    n->hold = call->wish->hold;
    n->skip_failed = call->wish->skip_failed;
    n->tenant = n->before_id = NULL;
    n->before_ms = n->floor_ms = n->ended_ms = 0;
    n->total = call->total;
    n->seen = n->built = n->present = n->failed = 0;
    n->started_ms = clock_now_ms();
}

// Is there any item that the rebuild would go through?
static int is_empty(struct call *call, struct meta_tx *tx, const struct rebuild_note *note, bool *out,
                    struct error *err)
{
    const struct meta_ops *meta = call->flow->meta.ops;
    struct meta_tenant *tenants;
    size_t tenant_count, count = 0;
    if (meta->tenant_list(tx, &call->arena, &tenants, &tenant_count, err) < 0)
        return -1;
    for (size_t i = 0; i < tenant_count && !count; i++) {
        const struct media_query one = {.tenant = tenants[i].name, .limit = 1};
        struct media *rows;
        bool covered;
        if (rebuild_covers(call->flow, tx, &call->arena, note, one.tenant, &covered, err) < 0 ||
            (covered && meta->media_list(tx, &call->arena, &one, &rows, &count, err) < 0))
            return -1;
    }
    *out = count == 0;
    return 0;
}

static int use_anew(struct call *call, struct meta_tx *tx, struct rebuild_note *note, struct error *err)
{
    bool empty;
    struct flow *f = call->flow;
    if (strcmp(call->model, call->current) == 0)
        return flow_model_choose(f, tx, note->scope, call->model, err);
    begin_anew(note, call, call->current);
    if (is_empty(call, tx, note, &empty, err) < 0)
        return -1;
    if (empty) {
        note->state = REBUILD_DONE;
        note->ended_ms = note->started_ms;
        if (flow_model_choose(f, tx, note->scope, call->model, err) < 0)
            return -1;
    }
    return rebuild_note_put(f, tx, note, err);
}

// What was asked for again goes on: from where it waits, or from the beginning with what failed.
static void go_on(struct rebuild_note *n, const struct rebuild_wish *wish)
{
    n->hold = wish->hold;
    n->skip_failed = wish->skip_failed;
    n->tenant = n->before_id = NULL;
    n->before_ms = 0;
    if (n->state == REBUILD_READY && !n->hold) {
        n->state = REBUILD_CLOSING;
        n->floor_ms = n->started_ms - LATE_MS;
    } else if (n->state == REBUILD_BLOCKED) {
        n->state = REBUILD_BUILDING;
        n->floor_ms = 0;
        n->seen = n->built = n->present = n->failed = 0;
    }
}

static int conflict(const struct rebuild_note *n, struct error *err)
{
    const char *what = strcmp(n->from, n->to) == 0 ? "A reindex under" : "A change to";
    return error_set(err, ERR_CONFLICT, "%s %s is under way; `deeplens reindex --cancel` ends it", what, n->to);
}

static int use_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct call *call = arg;
    struct rebuild_note note;
    if (rebuild_note_get(call->flow, tx, &call->arena, call->wish->tenant, &note, err) < 0)
        return -1;
    if (!rebuild_active(&note))
        return use_anew(call, tx, &note, err);
    if (strcmp(note.from, note.to) == 0)
        return conflict(&note, err);
    if (strcmp(call->model, note.to) == 0) {
        if (rebuild_runs(&note)) {
            note.hold = call->wish->hold;
            note.skip_failed = call->wish->skip_failed;
        } else {
            go_on(&note, call->wish);
        }
    } else if (strcmp(call->model, note.from) == 0) {
        note.state = REBUILD_CANCELLED;
        note.ended_ms = clock_now_ms();
    } else {
        return conflict(&note, err);
    }
    return rebuild_note_put(call->flow, tx, &note, err);
}

static int reindex_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct call *call = arg;
    struct rebuild_note note;
    if (rebuild_note_get(call->flow, tx, &call->arena, call->wish->tenant, &note, err) < 0)
        return -1;
    if (rebuild_active(&note))
        return conflict(&note, err);
    begin_anew(&note, call, call->model);
    return rebuild_note_put(call->flow, tx, &note, err);
}

static int begin(struct call *call, meta_tx_fn *tx, struct error *err)
{
    struct flow *f = call->flow;
    struct meta_ledger ledger;
    const struct flow_model *current;
    if (flow_model_for(f, call->wish->tenant, NULL, &current, err) < 0 ||
        admin_ledger(f, call->wish->tenant, &ledger, err) < 0)
        return -1;
    call->current = current->model->name;
    call->total = ledger.searchable + ledger.in_flight;
    int rc = f->meta.ops->write(f->meta.state, META_SYNCED, tx, call, err);
    arena_free(&call->arena);
    if (rc == 0)
        rebuilder_wake(f->rebuilder);
    return rc;
}

int rebuild_use(struct flow *f, const struct rebuild_wish *wish, struct error *err)
{
    const struct flow_model *model;
    if (flow_model_usable(f, wish->tenant, wish->model, &model, err) < 0)
        return -1;
    struct call call = {.flow = f, .wish = wish, .model = model->model->name};
    return begin(&call, use_tx, err);
}

int rebuild_reindex(struct flow *f, const struct rebuild_wish *wish, struct error *err)
{
    const struct flow_model *model;
    if (flow_model_for(f, wish->tenant, wish->model, &model, err) < 0 ||
        flow_picture_model(f, model->model->name, &model, err) < 0)
        return -1;
    struct call call = {.flow = f, .wish = wish, .model = model->model->name};
    return begin(&call, reindex_tx, err);
}

static int cancel_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct call *call = arg;
    struct rebuild_note note;
    if (rebuild_note_get(call->flow, tx, &call->arena, call->wish->tenant, &note, err) < 0)
        return -1;
    if (!rebuild_active(&note))
        return error_set(err, ERR_NOT_FOUND, "No rebuild is under way");
    note.state = REBUILD_CANCELLED;
    note.ended_ms = clock_now_ms();
    return rebuild_note_put(call->flow, tx, &note, err);
}

int rebuild_cancel(struct flow *f, const char *tenant, struct error *err)
{
    const struct rebuild_wish wish = {.tenant = tenant};
    struct call call = {.flow = f, .wish = &wish};
    int rc = f->meta.ops->write(f->meta.state, META_SYNCED, cancel_tx, &call, err);
    arena_free(&call.arena);
    return rc;
}

// --- Looking

struct list_call {
    struct flow *flow;
    struct arena *arena;
    const char *tenant;
    json_t *list;
};

static int list_one(struct list_call *call, struct meta_tx *tx, const char *scope, struct error *err)
{
    struct rebuild_note note;
    if (rebuild_note_get(call->flow, tx, call->arena, scope, &note, err) < 0)
        return -1;
    if (note.state != REBUILD_NONE)
        json_array_append_new(call->list, rebuild_note_json(&note));
    return 0;
}

static int list_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct list_call *call = arg;
    struct meta_tenant *tenants;
    size_t count;
    json_array_clear(call->list);
    if (list_one(call, tx, NULL, err) < 0)
        return -1;
    if (call->tenant)
        return list_one(call, tx, call->tenant, err);
    if (call->flow->meta.ops->tenant_list(tx, call->arena, &tenants, &count, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (list_one(call, tx, tenants[i].name, err) < 0)
            return -1;
    return 0;
}

int rebuild_list(struct flow *f, const char *tenant, json_t **out, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    _cleanup_json_ json_t *list = json_array();
    struct meta_tenant row;
    struct list_call call = {.flow = f, .arena = &arena, .tenant = tenant, .list = list};
    if ((tenant && flow_tenant(f, &arena, tenant, &row, err) < 0) ||
        f->meta.ops->read(f->meta.state, list_tx, &call, err) < 0)
        return -1;
    *out = take_ptr(list);
    return 0;
}

// --- What a vector under one model asks for

static bool follows(const struct rebuild_note *n, const struct media *media, const char *model, const char **out,
                    bool *gates)
{
    bool change = n->state != REBUILD_NONE && strcmp(n->from, n->to) != 0 && strcmp(n->from, model) == 0;
    *gates = n->state == REBUILD_CLOSING || n->state == REBUILD_DONE;
    if (change && (rebuild_active(n) || (n->state == REBUILD_DONE && media->uploaded_ms <= n->ended_ms + LATE_MS))) {
        *out = n->to;
        return true;
    }
    *gates = true;
    for (size_t i = n->past_count; i-- > 0;)
        if (strcmp(n->past[i].from, model) == 0 && media->uploaded_ms <= n->past[i].until_ms) {
            *out = n->past[i].to;
            return true;
        }
    return false;
}

int rebuild_follower(struct flow *f, struct meta_tx *tx, struct arena *arena, const struct media *media,
                     const char *model, const char **model_out, bool *gates, struct error *err)
{
    struct rebuild_note own, all;
    bool covered;
    *model_out = NULL;
    *gates = false;
    if (rebuild_note_get(f, tx, arena, media->tenant, &own, err) < 0 ||
        rebuild_note_get(f, tx, arena, NULL, &all, err) < 0)
        return -1;
    if (follows(&own, media, model, model_out, gates) || all.state == REBUILD_NONE)
        return 0;
    if (rebuild_covers(f, tx, arena, &all, media->tenant, &covered, err) < 0)
        return -1;
    if (covered)
        follows(&all, media, model, model_out, gates);
    return 0;
}

int rebuild_reindex_since(struct flow *f, struct meta_tx *tx, struct arena *arena, const char *tenant,
                          const char *model, int64_t *out, struct error *err)
{
    const char *const scopes[] = {tenant, NULL};
    int64_t since = 0;
    for (size_t i = 0; i < ARRAY_LEN(scopes); i++) {
        struct rebuild_note n;
        if (rebuild_note_get(f, tx, arena, scopes[i], &n, err) < 0)
            return -1;
        if (rebuild_runs(&n) && strcmp(n.from, n.to) == 0 && strcmp(n.to, model) == 0 && n.started_ms > since)
            since = n.started_ms;
    }
    *out = since;
    return 0;
}

void rebuild_saw_search(struct flow *f, int64_t took_us)
{
    int64_t worst = f->search_worst_us;
    while (took_us > worst && !atomic_compare_exchange_weak(&f->search_worst_us, &worst, took_us))
        ;
}
