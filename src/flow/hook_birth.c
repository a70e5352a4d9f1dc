// SPDX-License-Identifier: Apache-2.0
// From changes to deliveries.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "flow/hook_int.h"

enum { CHUNK = 256, BODY_MAX = 2 << 20 };
#define CURSOR "webhooks.born"

int hook_cursor_put(struct flow *f, struct meta_tx *tx, int64_t seq, struct error *err)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, seq);
    return f->meta.ops->setting_put(tx, CURSOR, text, err);
}

int hook_cursor(struct flow *f, struct meta_tx *tx, struct arena *arena, int64_t *out, struct error *err)
{
    struct meta_webhook *hooks;
    size_t count;
    const char *text;
    if (f->meta.ops->webhook_list(tx, arena, NULL, &hooks, &count, err) < 0)
        return -1;
    if (count && f->meta.ops->setting_get(tx, arena, CURSOR, &text, err) < 0)
        return -1;
    *out = count ? strtoll(text, NULL, 10) : INT64_MAX;
    return 0;
}

const char *hook_body(struct arena *arena, const char *type, int64_t at_ms, const char *data)
{
    char time[CLOCK_TEXT];
    _cleanup_buf_ struct buf text = BUF_INIT(BODY_MAX);
    clock_rfc3339(at_ms, time);
    buf_printf(&text, "{\"type\":\"%s\",\"timestamp\":\"%s\",\"data\":%s}", type, time, data);
    return text.failed ? NULL : arena_memdup(arena, text.data, text.len);
}

struct birth {
    struct flow *flow;
    struct arena arena;
    struct meta_webhook *hooks;
    size_t hook_count;
    uint64_t waiting[HOOKS_MAX]; // of each hook; UINT64_MAX: not looked up
    bool more;
};

static int body_of(struct birth *b, struct meta_tx *tx, const struct meta_change *c, const char **out,
                   struct error *err)
{
    struct live_change shown;
    _cleanup_buf_ struct buf text = BUF_INIT(BODY_MAX);
    if (change_show(b->flow, tx, &b->arena, c, &shown, err) < 0)
        return -1;
    change_write(&shown, &text);
    *out = text.failed ? NULL : hook_body(&b->arena, hook_type(c->status), c->at_ms, text.data);
    return *out ? 0 : error_set(err, ERR_NO_MEMORY, "A delivery cannot be written");
}

// Too many wait: it is dead already, and may be begun anew when they do not any more (G8).
static int is_too_much(struct birth *b, struct meta_tx *tx, size_t at, bool *out, struct error *err)
{
    const struct meta_webhook *hook = &b->hooks[at];
    if (b->waiting[at] == UINT64_MAX &&
        b->flow->meta.ops->delivery_waiting(tx, hook->tenant, hook->id, &b->waiting[at], err) < 0)
        return -1;
    *out = b->waiting[at] >= b->flow->settings.hook_backlog;
    b->waiting[at] += !*out;
    return 0;
}

int hook_put(struct flow *f, struct meta_tx *tx, const struct meta_delivery *given, bool too_much, struct error *err)
{
    struct meta_delivery row = *given;
    row.state = too_much ? DELIVERY_DEAD : DELIVERY_WAITING;
    row.not_before_ms = row.created_ms = clock_now_ms();
    row.ended_ms = too_much ? row.created_ms : 0;
    row.error = too_much ? "As many deliveries as may waited already" : NULL;
    return f->meta.ops->delivery_put(tx, &row, err);
}

static int deliver(struct birth *b, struct meta_tx *tx, size_t at, const struct meta_change *c, const char *body,
                   struct error *err)
{
    const struct meta_webhook *hook = &b->hooks[at];
    char id[ID_MAX], name[ID_MAX + 32];
    bool too_much;
    if (is_too_much(b, tx, at, &too_much, err) < 0)
        return -1;
    snprintf(name, sizeof name, "%s/%" PRId64, hook->id, c->seq);
    id_derive("msg", name, NULL, id);
    const struct meta_delivery row = {.id = id,
                                      .webhook = hook->id,
                                      .tenant = hook->tenant,
                                      .item = c->id,
                                      .type = hook_type(c->status),
                                      .body = body};
    return hook_put(b->flow, tx, &row, too_much, err);
}

static bool wants(const struct meta_webhook *hook, const struct meta_change *c)
{
    int bit = c->status == META_GONE ? META_GONE_BIT : c->status;
    return strcmp(hook->tenant, c->tenant) == 0 && (hook->statuses >> bit & 1) && c->seq > hook->after_seq;
}

static int birth_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct birth *b = arg;
    const struct meta_ops *meta = b->flow->meta.ops;
    struct meta_change *rows;
    size_t count;
    int64_t born;
    arena_free(&b->arena);
    memset(b->waiting, 0xff, sizeof b->waiting);
    b->more = false;
    if (meta->webhook_list(tx, &b->arena, NULL, &b->hooks, &b->hook_count, err) < 0 ||
        hook_cursor(b->flow, tx, &b->arena, &born, err) < 0 ||
        meta->change_list(tx, &b->arena, born, CHUNK, &rows, &count, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        const char *body = NULL;
        for (size_t at = 0; at < b->hook_count && at < HOOKS_MAX; at++)
            if (wants(&b->hooks[at], &rows[i]) &&
                ((!body && body_of(b, tx, &rows[i], &body, err) < 0) || deliver(b, tx, at, &rows[i], body, err) < 0))
                return -1;
    }
    b->more = count == CHUNK;
    return count ? hook_cursor_put(b->flow, tx, rows[count - 1].seq, err) : 0;
}

struct peek {
    struct flow *flow;
    bool news;
};

static int peek_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct peek *p = arg;
    _cleanup_arena_ struct arena arena = {0};
    int64_t born, first, last;
    if (hook_cursor(p->flow, tx, &arena, &born, err) < 0 || p->flow->meta.ops->change_range(tx, &first, &last, err) < 0)
        return -1;
    p->news = last > born;
    return 0;
}

int hook_birth(struct flow *f, bool *more, struct error *err)
{
    struct peek peek = {.flow = f};
    if (f->meta.ops->read(f->meta.state, peek_tx, &peek, err) < 0)
        return -1;
    *more = false;
    if (!peek.news)
        return 0;
    struct birth *b = calloc(1, sizeof *b);
    if (!b)
        return error_set(err, ERR_NO_MEMORY, "No memory for deliveries");
    b->flow = f;
    int rc = f->meta.ops->write(f->meta.state, META_RELAXED, birth_tx, b, err);
    *more = rc == 0 && b->more;
    arena_free(&b->arena);
    free(b);
    return rc;
}
