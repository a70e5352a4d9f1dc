// SPDX-License-Identifier: Apache-2.0
// What is registered, and the log of deliveries.
#include "flow/hook.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/js.h"
#include "flow/hook_int.h"
#include "net/post.h"

// ---- Types

static const char *const types[] = {[MEDIA_UPLOADED] = "media.uploaded",  [MEDIA_PROCESSING] = "media.processing",
                                    [MEDIA_FAILED] = "processing.failed", [MEDIA_COMPLETED] = "processing.completed",
                                    [MEDIA_DELETING] = "media.deleting",  [META_GONE_BIT] = "media.deleted"};

const char *hook_type(int status)
{
    return types[status == META_GONE ? META_GONE_BIT : status];
}

int64_t hook_bit(const char *type)
{
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (strcmp(types[i], type) == 0)
            return INT64_C(1) << i;
    return 0;
}

static int read_types(const json_t *list, int64_t *out, struct error *err)
{
    int64_t bits = 0;
    size_t i;
    json_t *type;
    if (!list) {
        *out = 1 << MEDIA_COMPLETED | 1 << MEDIA_FAILED;
        return 0;
    }
    json_array_foreach((json_t *)list, i, type)
    {
        int64_t bit = json_is_string(type) ? hook_bit(json_string_value(type)) : 0;
        if (!bit)
            break;
        bits |= bit;
    }
    if (!json_is_array(list) || !bits || i < json_array_size(list))
        return error_set(err, ERR_INVALID,
                         "`types` lists some of media.uploaded, media.processing, processing.completed, "
                         "processing.failed, media.deleting, media.deleted");
    *out = bits;
    return 0;
}

// ---- JSON

static json_t *hook_json(const struct meta_webhook *row, const char *secret)
{
    json_t *list = json_array(),
           *json = json_pack("{s:s, s:s, s:s}", "id", row->id, "tenantId", row->tenant, "url", row->url);
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (row->statuses >> i & 1)
            json_array_append_new(list, json_string(types[i]));
    json_object_set_new(json, "types", list);
    js_set_time(json, "createdAt", row->created_ms);
    if (row->secret_before && row->before_until_ms > clock_now_ms())
        js_set_time(json, "rotatingUntil", row->before_until_ms);
    js_set_str(json, "secret", secret);
    return json;
}

static const char *state_name(enum delivery_state state)
{
    return state == DELIVERY_DELIVERED ? "delivered" : state == DELIVERY_DEAD ? "dead" : "waiting";
}

static json_t *delivery_json(const struct meta_delivery *row, bool with_body)
{
    bool ended = row->state >= DELIVERY_DELIVERED;
    json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:i}", "id", row->id, "type", row->type, "itemId", row->item,
                             "state", state_name(row->state), "attempts", row->attempts);
    js_set_time(json, "createdAt", row->created_ms);
    js_set_time(json, "endedAt", row->ended_ms);
    if (!ended && row->attempts)
        js_set_time(json, "nextAttemptAt", row->not_before_ms);
    if (row->status)
        json_object_set_new(json, "status", json_integer(row->status));
    if (row->attempts)
        json_object_set_new(json, "tookMs", json_integer(row->took_ms));
    js_set_str(json, "error", row->error);
    if (with_body)
        json_object_set_new(json, "body", js_parse(row->body, strlen(row->body), NULL));
    return json;
}

// ---- Transactions

struct call {
    struct flow *flow;
    const char *tenant, *id, *delivery;
    struct meta_webhook hook;
    struct meta_delivery row;
    struct delivery_query query;
    int64_t overlap_ms;
    struct arena arena;
    struct meta_webhook *hooks;
    struct meta_delivery *rows;
    size_t count;
};

static int run(struct call *c, bool writes, meta_tx_fn *fn, struct error *err)
{
    const struct meta *meta = &c->flow->meta;
    return writes ? meta->ops->write(meta->state, META_SYNCED, fn, c, err) : meta->ops->read(meta->state, fn, c, err);
}

static int find(struct meta_tx *tx, struct call *c, struct error *err)
{
    if (c->flow->meta.ops->webhook_list(tx, &c->arena, c->tenant, &c->hooks, &c->count, err) < 0)
        return -1;
    for (size_t i = 0; i < c->count; i++)
        if (strcmp(c->hooks[i].id, c->id) == 0) {
            c->hook = c->hooks[i];
            return 0;
        }
    return error_set(err, ERR_NOT_FOUND, "There is no webhook %.80s", c->id);
}

static int list_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct call *c = arg;
    struct meta_tenant tenant;
    return c->flow->meta.ops->tenant_get(tx, &c->arena, c->tenant, &tenant, err) < 0
               ? -1
               : c->flow->meta.ops->webhook_list(tx, &c->arena, c->tenant, &c->hooks, &c->count, err);
}

int hook_list(struct flow *f, const char *tenant, json_t **out, struct error *err)
{
    struct call c = {.flow = f, .tenant = tenant};
    int rc = flow_tenant_check(tenant, err) < 0 ? -1 : run(&c, false, list_tx, err);
    if (rc == 0) {
        json_t *list = json_array();
        for (size_t i = 0; i < c.count; i++)
            json_array_append_new(list, hook_json(&c.hooks[i], NULL));
        *out = json_pack("{s:o}", "webhooks", list);
    }
    arena_free(&c.arena);
    return rc;
}

static int add_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct call *c = arg;
    const struct meta_ops *meta = c->flow->meta.ops;
    struct meta_tenant tenant;
    int64_t first;
    if (meta->tenant_get(tx, &c->arena, c->tenant, &tenant, err) < 0 ||
        meta->webhook_list(tx, &c->arena, NULL, &c->hooks, &c->count, err) < 0 ||
        meta->change_range(tx, &first, &c->hook.after_seq, err) < 0)
        return -1;
    if (c->count >= HOOKS_MAX)
        return error_set(err, ERR_CONFLICT, "There are %d webhooks, and more are not possible", HOOKS_MAX);
    if (c->count == 0 && hook_cursor_put(c->flow, tx, c->hook.after_seq, err) < 0)
        return -1;
    return meta->webhook_put(tx, &c->hook, err);
}

int hook_add(struct flow *f, const struct hook_wish *wish, json_t **out, struct error *err)
{
    char id[ID_MAX], secret[HOOK_SECRET_MAX];
    struct net_ranges allowed;
    struct call c = {.flow = f, .tenant = wish->tenant};
    if (!wish->url)
        return error_set(err, ERR_INVALID, "`url` must say the address to call");
    if (flow_tenant_check(wish->tenant, err) < 0 || net_ranges_parse(f->settings.hook_allow, &allowed, err) < 0 ||
        post_check_url(wish->url, &allowed, err) < 0 || (wish->secret && hook_secret_check(wish->secret, err) < 0) ||
        read_types(wish->types, &c.hook.statuses, err) < 0)
        return -1;
    id_new("whk", id);
    hook_secret_new(secret);
    c.hook.id = id;
    c.hook.tenant = wish->tenant;
    c.hook.url = wish->url;
    c.hook.secret = wish->secret ? wish->secret : secret;
    c.hook.created_ms = clock_now_ms();
    int rc = run(&c, true, add_tx, err);
    if (rc == 0)
        *out = hook_json(&c.hook, c.hook.secret);
    arena_free(&c.arena);
    hooks_wake(f->hooks);
    return rc;
}

static int remove_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct call *c = arg;
    return c->flow->meta.ops->webhook_remove(tx, c->tenant, c->id, err);
}

int hook_remove(struct flow *f, const char *tenant, const char *id, struct error *err)
{
    struct call c = {.flow = f, .tenant = tenant, .id = id};
    int rc = run(&c, true, remove_tx, err);
    hooks_wake(f->hooks);
    return rc;
}

static int rotate_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct call *c = arg;
    const char *secret = c->hook.secret;
    if (find(tx, c, err) < 0)
        return -1;
    c->hook.secret_before = c->overlap_ms ? c->hook.secret : NULL;
    c->hook.before_until_ms = c->overlap_ms ? clock_now_ms() + c->overlap_ms : 0;
    c->hook.secret = secret;
    return c->flow->meta.ops->webhook_put(tx, &c->hook, err);
}

int hook_rotate(struct flow *f, const char *tenant, const char *id, int64_t overlap_ms, json_t **out, struct error *err)
{
    char secret[HOOK_SECRET_MAX];
    hook_secret_new(secret);
    struct call c = {.flow = f, .tenant = tenant, .id = id, .overlap_ms = overlap_ms, .hook = {.secret = secret}};
    int rc = run(&c, true, rotate_tx, err);
    if (rc == 0)
        *out = hook_json(&c.hook, secret);
    arena_free(&c.arena);
    hooks_wake(f->hooks);
    return rc;
}

// ---- Deliveries

static int test_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct call *c = arg;
    return find(tx, c, err) < 0 ? -1 : c->flow->meta.ops->delivery_put(tx, &c->row, err);
}

int hook_test(struct flow *f, const char *tenant, const char *id, json_t **out, struct error *err)
{
    char name[ID_MAX];
    struct call c = {.flow = f, .tenant = tenant, .id = id};
    if (!f->hooks)
        return error_set(err, ERR_UNSUPPORTED, "Webhooks are called where the pipeline runs");
    id_new("msg", name);
    const char *data = arena_printf(&c.arena, "{\"tenantId\":\"%s\",\"webhookId\":\"%.*s\"}", tenant, ID_MAX, id);
    c.row = (struct meta_delivery){.id = name,
                                   .webhook = id,
                                   .tenant = tenant,
                                   .item = name, // behind nothing
                                   .type = HOOK_TEST,
                                   .body = hook_body(&c.arena, HOOK_TEST, clock_now_ms(), data),
                                   .created_ms = clock_now_ms()};
    int rc = c.row.body ? run(&c, true, test_tx, err) : error_set(err, ERR_NO_MEMORY, "Out of memory");
    if (rc == 0)
        *out = delivery_json(&c.row, false);
    arena_free(&c.arena);
    hooks_wake(f->hooks);
    return rc;
}

static int deliveries_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct call *c = arg;
    return find(tx, c, err) < 0 ? -1
                                : c->flow->meta.ops->delivery_list(tx, &c->arena, &c->query, &c->rows, &c->count, err);
}

static int read_query(const struct hook_query *query, struct delivery_query *out, struct error *err)
{
    char *end;
    *out =
        (struct delivery_query){.tenant = query->tenant, .webhook = query->webhook, .state = -1, .limit = query->limit};
    if (query->cursor) {
        out->before = strtoll(query->cursor, &end, 10);
        if (end == query->cursor || *end || out->before < 1)
            return error_set(err, ERR_INVALID_CURSOR, "The cursor is none that an answer gave");
    }
    if (!query->state)
        return 0;
    for (int state = DELIVERY_WAITING; state <= DELIVERY_DEAD; state++)
        if (state != DELIVERY_BEHIND && strcmp(query->state, state_name((enum delivery_state)state)) == 0) {
            out->state = state;
            return 0;
        }
    return error_set(err, ERR_INVALID, "`state` is waiting, delivered or dead");
}

int hook_deliveries(struct flow *f, const struct hook_query *query, json_t **out, struct error *err)
{
    struct call c = {.flow = f, .tenant = query->tenant, .id = query->webhook};
    int rc = read_query(query, &c.query, err) < 0 ? -1 : run(&c, false, deliveries_tx, err);
    if (rc == 0) {
        json_t *list = json_array();
        for (size_t i = 0; i < c.count; i++)
            json_array_append_new(list, delivery_json(&c.rows[i], false));
        json_t *next =
            c.count == query->limit && c.count ? json_sprintf("%" PRId64, c.rows[c.count - 1].num) : json_null();
        *out = json_pack("{s:o, s:o}", "items", list, "nextCursor", next);
    }
    arena_free(&c.arena);
    return rc;
}

static int delivery_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct call *c = arg;
    return c->flow->meta.ops->delivery_get(tx, &c->arena, c->tenant, c->id, c->delivery, &c->row, err);
}

int hook_delivery(struct flow *f, const char *tenant, const char *webhook, const char *id, json_t **out,
                  struct error *err)
{
    struct call c = {.flow = f, .tenant = tenant, .id = webhook, .delivery = id};
    int rc = run(&c, false, delivery_tx, err);
    if (rc == 0)
        *out = delivery_json(&c.row, true);
    arena_free(&c.arena);
    return rc;
}

static int replay_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct call *c = arg;
    return c->flow->meta.ops->delivery_again(tx, c->tenant, c->id, c->delivery, clock_now_ms(), err) < 0
               ? -1
               : delivery_tx(tx, c, err);
}

int hook_replay(struct flow *f, const char *tenant, const char *webhook, const char *id, json_t **out,
                struct error *err)
{
    struct call c = {.flow = f, .tenant = tenant, .id = webhook, .delivery = id};
    int rc = run(&c, true, replay_tx, err);
    if (rc == 0)
        *out = delivery_json(&c.row, false);
    arena_free(&c.arena);
    hooks_wake(f->hooks);
    return rc;
}
