// SPDX-License-Identifier: Apache-2.0
// A tenant removed whole: a saga in looks, each of which goes as far as it can.
//
//   mark     durable: from now on nothing is uploaded to it
//   items    each is deleted as on request, with its receipt
//   rest     once no item is left: webhooks, settings, collections, files that a kill left
//   remove   the tenant, in a transaction that looks whether there is really nothing of it
//
// The mark is all that there is to resume: whoever finds it (the watch, at the start and every lag.interval; whoever
// asks again) looks on. Nothing is undone by doing it twice. Receipts stay, and so do dead letters and what topics hold
// until they forget it.
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/js.h"
#include "flow/admin_int.h"
#include "flow/near.h"
#include "flow/step.h"

enum { FILES = 64 };

struct leave {
    struct flow *flow;
    struct arena *arena;
    const char *name;
    struct meta_tenant row, *rows;
    size_t count;
    struct meta_webhook *hooks;
    size_t hook_count;
    struct meta_ledger ledger;
    const char *files[FILES];
    size_t file_count;
    bool gone; // somebody else was quicker
};

// Two looks at once: the later one could take from a new tenant of the same name.
static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

static uint64_t left(const struct leave *l)
{
    return l->ledger.searchable + l->ledger.failed + l->ledger.in_flight;
}

static int read_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct leave *l = arg;
    const struct meta_ops *ops = l->flow->meta.ops;
    if (ops->tenant_get(tx, l->arena, l->name, &l->row, err) < 0 || ops->ledger(tx, l->name, &l->ledger, err) < 0)
        return -1;
    return ops->webhook_list(tx, l->arena, l->name, &l->hooks, &l->hook_count, err);
}

// --- The rest

static int forget_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct leave *l = arg;
    const struct meta_ops *ops = l->flow->meta.ops;
    for (size_t i = 0; i < l->hook_count; i++) {
        struct error why = {0};
        if (ops->webhook_remove(tx, l->name, l->hooks[i].id, &why) < 0 && why.code != ERR_NOT_FOUND)
            return error_copy(err, &why);
    }
    if (near_policy_forget_tx(l->flow, tx, l->name, err) < 0)
        return -1;
    return flow_model_choose(l->flow, tx, l->name, "", err);
}

static int drop_collections(struct leave *l, struct error *err)
{
    const char **names;
    size_t count;
    if (flow_collections(l->flow, l->arena, l->name, &names, &count, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (l->flow->index.ops->drop(l->flow->index.state, names[i], err) < 0)
            return -1;
    return 0;
}

static int note_file(void *arg, const char *key, const struct blob_info *info)
{
    struct leave *l = arg;
    if (info->modified_ms <= l->row.leaving_ms) // later: of nobody, or of another one of this name
        l->files[l->file_count++] = arena_strdup(l->arena, key);
    return l->file_count == FILES;
}

static int remove_files(struct leave *l, struct error *err)
{
    const struct blob *blob = &l->flow->blob;
    const char *prefix = arena_printf(l->arena, "tenant-%s/", l->name);
    do {
        l->file_count = 0;
        if (blob->ops->list(blob->state, prefix, note_file, l, err) < 0)
            return -1;
        for (size_t i = 0; i < l->file_count; i++)
            if (blob->ops->remove(blob->state, l->files[i], err) < 0)
                return -1;
    } while (l->file_count == FILES);
    return 0;
}

static int remove_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct leave *l = arg;
    // What came since the look: a webhook left here would be told of another tenant of this name.
    if (read_tx(tx, l, err) < 0 || forget_tx(tx, l, err) < 0)
        return -1;
    return l->flow->meta.ops->tenant_remove(tx, l->name, err);
}

static int remove_rest(struct leave *l, struct error *err)
{
    const struct meta *meta = &l->flow->meta;
    if (meta->ops->write(meta->state, META_RELAXED, forget_tx, l, err) < 0 || drop_collections(l, err) < 0 ||
        remove_files(l, err) < 0)
        return -1;
    return meta->ops->write(meta->state, META_SYNCED, remove_tx, l, err);
}

// --- A look

static int look(struct leave *l, struct error *err)
{
    struct flow *f = l->flow;
    struct error why = {0};
    size_t matched = 0;
    if (f->meta.ops->read(f->meta.state, read_tx, l, &why) < 0) {
        l->gone = why.code == ERR_TENANT_UNKNOWN;
        return l->gone ? 0 : error_copy(err, &why);
    }
    if (!l->row.leaving_ms) { // another one of this name
        l->gone = true;
        return 0;
    }
    if (left(l) && items_delete_all(f, l->name, &matched, err) < 0)
        return -1;
    if (left(l))
        return 0;
    l->gone = true;
    return remove_rest(l, err);
}

static int look_alone(struct leave *l, struct error *err)
{
    pthread_mutex_lock(&one_at_a_time);
    int rc = look(l, err);
    pthread_mutex_unlock(&one_at_a_time);
    return rc;
}

static int list_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct leave *l = arg;
    return l->flow->meta.ops->tenant_list(tx, l->arena, &l->rows, &l->count, err);
}

int admin_leave_look(struct flow *f, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct leave all = {.flow = f, .arena = &arena};
    struct error failed = {0};
    if (f->meta.ops->read(f->meta.state, list_tx, &all, err) < 0)
        return -1;
    for (size_t i = 0; i < all.count; i++) {
        struct leave l = {.flow = f, .arena = &arena, .name = all.rows[i].name};
        struct error why = {0};
        if (all.rows[i].leaving_ms && look_alone(&l, &why) < 0)
            failed = why; // the others go on
    }
    return failed.code ? error_copy(err, &failed) : 0;
}

// --- Asked for

static int mark_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct leave *l = arg;
    return l->flow->meta.ops->tenant_leave(tx, l->name, clock_now_ms(), err);
}

static int say(struct leave *l, const char *status, json_t **out, struct error *err)
{
    const char **names;
    size_t count;
    if (flow_collections(l->flow, l->arena, l->name, &names, &count, err) < 0)
        return -1;
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_string(names[i]));
    *out = json_pack("{s:s,s:s,s:I,s:o,s:I}", "name", l->name, "status", status, "left",
                     (json_int_t)(l->gone ? 0 : left(l)), "collections", list, "webhooks",
                     (json_int_t)(l->gone ? 0 : l->hook_count));
    return 0;
}

int admin_tenant_remove(struct flow *f, const char *name, bool dry_run, json_t **out, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct leave l = {.flow = f, .arena = &arena, .name = name};
    if (flow_tenant_check(name, err) < 0)
        return -1;
    if (strcmp(name, "default") == 0)
        return error_set(err, ERR_CONFLICT, "The tenant default is always there");
    if (dry_run)
        return f->meta.ops->read(f->meta.state, read_tx, &l, err) < 0 ? -1 : say(&l, "present", out, err);
    if (f->meta.ops->write(f->meta.state, META_SYNCED, mark_tx, &l, err) < 0 || look_alone(&l, err) < 0)
        return -1;
    return say(&l, l.gone ? "removed" : "removing", out, err);
}
