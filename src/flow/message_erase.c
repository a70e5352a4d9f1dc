// SPDX-License-Identifier: Apache-2.0
// Everything of one sender erased: their messages, those of the chat with them, the items made of them, their reactions
// to messages of others, and what was said to them.
//
// It goes in steps, each a transaction of some messages: cut off, it is asked for again and goes on with what is left.
// Whoever brings a message again (the Cloud API does so for days) is told that it is known: a hash of its id stays, and
// nothing else. That they want no answers stays, too: it is what they asked for.
#include <string.h>

#include "base/clock.h"
#include "base/js.h"
#include "flow/message_int.h"

enum { AT_ONCE = 100 };

static const char *hash_of(struct arena *arena, const char *id)
{
    char hex[HASH_HEX];
    struct hash_state state;
    hash_init(&state);
    hash_update(&state, id, strlen(id));
    hash_final(&state, hex);
    return arena_strdup(arena, hex);
}

int message_erased(struct flow *f, struct meta_tx *tx, struct arena *arena, const char *tenant, const char *id,
                   bool *out, struct error *err)
{
    return f->meta.ops->erased_get(tx, tenant, hash_of(arena, id), out, err);
}

struct erasing {
    struct flow *flow;
    struct arena arena;
    const char *tenant, *sender;
    bool dry_run;
    size_t messages, items; // of the step
};

static int take_back_reaction(struct erasing *e, struct meta_tx *tx, const struct meta_message *by, struct error *err)
{
    struct meta_message target;
    struct error why = {0};
    const struct meta_ops *meta = e->flow->meta.ops;
    if (strcmp(by->type, "reaction") != 0 || !by->target)
        return 0;
    if (meta->message_get(tx, &e->arena, e->tenant, by->target, &target, &why) < 0)
        return why.code == ERR_NOT_FOUND ? 0 : error_copy(err, &why);
    if (!target.reactions)
        return 0;
    _cleanup_json_ json_t *all = js_parse(target.reactions, strlen(target.reactions), err);
    if (!all)
        return -1;
    if (json_object_del(all, e->sender) < 0)
        return 0;
    _cleanup_free_ char *text = js_dumps(all);
    if (!text)
        return error_set(err, ERR_NO_MEMORY, "No memory for reactions");
    target.reactions = text;
    return meta->message_put(tx, &target, err);
}

static int erase_one(struct erasing *e, struct meta_tx *tx, struct meta_message *row, struct error *err)
{
    const struct meta_ops *meta = e->flow->meta.ops;
    e->messages++;
    e->items += row->media_id != NULL;
    if (e->dry_run)
        return 0;
    if (take_back_reaction(e, tx, row, err) < 0 || message_remove_media_tx(e->flow, tx, &e->arena, row, err) < 0 ||
        meta->erased_put(tx, e->tenant, hash_of(&e->arena, row->id), clock_now_ms(), err) < 0)
        return -1;
    return meta->message_remove(tx, e->tenant, row->id, err);
}

static int step_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct erasing *e = arg;
    struct meta_message *rows;
    size_t count;
    const struct meta_ops *meta = e->flow->meta.ops;
    const struct message_query query = {
        .tenant = e->tenant, .of = e->sender, .state = -1, .limit = e->dry_run ? SIZE_MAX : AT_ONCE};
    struct meta_tenant tenant;
    arena_free(&e->arena);
    e->messages = e->items = 0;
    if (meta->tenant_get(tx, &e->arena, e->tenant, &tenant, err) < 0 ||
        meta->message_list(tx, &e->arena, &query, &rows, &count, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (erase_one(e, tx, &rows[i], err) < 0)
            return -1;
    return e->dry_run ? 0 : meta->reply_forget(tx, e->tenant, e->sender, err);
}

static int check(const char *tenant, const char *sender, struct error *err)
{
    if (!sender || !*sender || strlen(sender) > MESSAGE_ID_MAX)
        return error_set(err, ERR_INVALID, "`sender` must say whose, such as 16505551234@s.whatsapp.net");
    return flow_tenant_check(tenant, err);
}

int message_erase(struct flow *f, const char *tenant, const char *sender, bool dry_run, json_t **out, struct error *err)
{
    struct erasing e = {.flow = f, .tenant = tenant, .sender = sender, .dry_run = dry_run};
    json_int_t messages = 0, items = 0;
    const struct meta *meta = &f->meta;
    int rc = check(tenant, sender, err);
    if (rc == 0)
        do {
            rc = dry_run ? meta->ops->read(meta->state, step_tx, &e, err)
                         : meta->ops->write(meta->state, META_SYNCED, step_tx, &e, err);
            messages += (json_int_t)e.messages;
            items += (json_int_t)e.items;
        } while (rc == 0 && !dry_run && e.messages == AT_ONCE);
    if (rc == 0)
        *out =
            json_pack("{s:s,s:b,s:I,s:I}", "sender", sender, "dryRun", dry_run, "messages", messages, "items", items);
    arena_free(&e.arena);
    return rc;
}

// ---- What is known of one

struct asking {
    struct flow *flow;
    const char *tenant, *sender;
    int64_t stopped_ms;
};

static int stopped_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct asking *a = arg;
    return a->flow->meta.ops->optout_get(tx, a->tenant, a->sender, &a->stopped_ms, err);
}

int message_stopped(struct flow *f, const char *tenant, const char *sender, int64_t *at_ms, struct error *err)
{
    struct asking a = {.flow = f, .tenant = tenant, .sender = sender};
    if (check(tenant, sender, err) < 0 || f->meta.ops->read(f->meta.state, stopped_tx, &a, err) < 0)
        return -1;
    *at_ms = a.stopped_ms;
    return 0;
}
