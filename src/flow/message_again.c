// SPDX-License-Identifier: Apache-2.0
// Messages put back on their topic, when that was made anew or lost what stood on it (G2). What a message is stands in
// its row, also what others did to it meanwhile, so the event is made from the row, under the id that it had. Where it
// was done already the inbox and the row pass over it (G3).
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/js.h"
#include "flow/message_int.h"

enum { PAGE = 100 };

struct put_back {
    struct flow *flow;
    struct arena arena;   // of the page
    int64_t untouched_ms; // only what was not touched since; 0: whatever it is
    struct message_query query;
    int64_t after; // the cursor of what waits
    struct meta_message *rows;
    size_t count;
    struct meta_tenant *tenants;
    size_t tenant_count;
};

static bool is_meant(const struct put_back *call, const struct meta_message *row)
{
    return !call->untouched_ms || row->updated_ms <= call->untouched_ms;
}

// The metadata of a row, with the target that it had before it was deleted; the caller's.
static json_t *metadata_of(const struct meta_message *row, struct error *err)
{
    json_t *metadata = js_parse(row->metadata, strlen(row->metadata), err);
    if (metadata && row->target && !json_object_get(metadata, MESSAGE_TARGET))
        js_set_str(metadata, MESSAGE_TARGET, row->target);
    return metadata;
}

static int publish(struct put_back *call, struct meta_tx *tx, const struct meta_message *row, struct error *err)
{
    _cleanup_buf_ struct buf text = BUF_INIT(1 << 20);
    _cleanup_json_ json_t *metadata = metadata_of(row, err);
    if (!metadata)
        return -1;
    struct emit emit = {.topic = TOPIC_MESSAGES, .key = row->chat, .event_id = row->event_id};
    emit.event = (struct event){
        .topic = TOPIC_MESSAGES,
        .id = row->event_id,
        .tenant = row->tenant,
        .media_id = row->chat,
        .timestamp_ms = row->sent_ms,
        .message = {
            .id = row->id, .from_me = row->from_me, .type = row->type, .content = row->content, .metadata = metadata}};
    if (event_encode(&emit.event, call->flow->settings.format, &text, err) < 0)
        return -1;
    emit.value = text.data;
    emit.value_len = text.len;
    return flow_publish_tx(call->flow, tx, &emit, err);
}

// As it is now: it may have been worked on since it was listed.
static int put_one_back(struct put_back *call, struct meta_tx *tx, const struct meta_message *listed, struct error *err)
{
    const struct meta_ops *meta = call->flow->meta.ops;
    struct meta_message row;
    struct error why = {0};
    if (meta->message_get(tx, &call->arena, listed->tenant, listed->id, &row, &why) < 0)
        return why.code == ERR_NOT_FOUND ? 0 : error_copy(err, &why);
    if (row.state != listed->state || !is_meant(call, &row))
        return 0;
    // Attempts begin anew: one that stood on the topic is lost, and what was begun cannot end.
    if (meta->inbox_forget(tx, steps[STEP_MESSAGE].group, row.event_id, false, err) < 0 ||
        publish(call, tx, &row, err) < 0)
        return -1;
    row.updated_ms = clock_now_ms(); // so that it is left alone for as long again
    return call->untouched_ms ? meta->message_put(tx, &row, err) : 0;
}

static int put_back_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct put_back *call = arg;
    for (size_t i = 0; i < call->count; i++)
        if (is_meant(call, &call->rows[i]) && put_one_back(call, tx, &call->rows[i], err) < 0)
            return -1;
    return 0;
}

static int list_page(struct meta_tx *tx, void *arg, struct error *err)
{
    struct put_back *call = arg;
    return call->flow->meta.ops->message_list(tx, &call->arena, &call->query, &call->rows, &call->count, err);
}

static int waiting_page(struct meta_tx *tx, void *arg, struct error *err)
{
    struct put_back *call = arg;
    return call->flow->meta.ops->message_waiting(tx, &call->arena, call->query.tenant, &call->after, PAGE, &call->rows,
                                                 &call->count, err);
}

static int read_tenants(struct meta_tx *tx, void *arg, struct error *err)
{
    struct put_back *call = arg;
    return call->flow->meta.ops->tenant_list(tx, &call->arena, &call->tenants, &call->tenant_count, err);
}

// How many there are of a tenant, by the index.
static int count_state(struct flow *f, const char *tenant, enum message_state state, int64_t untouched_ms,
                       uint64_t *count, struct error *err)
{
    char before_id[MESSAGE_ID_MAX + 1] = "";
    struct put_back call = {.flow = f, .untouched_ms = untouched_ms};
    call.query = (struct message_query){.tenant = tenant, .state = state, .limit = PAGE};
    do {
        int rc = f->meta.ops->read(f->meta.state, list_page, &call, err);
        for (size_t i = 0; rc == 0 && i < call.count; i++)
            *count += is_meant(&call, &call.rows[i]);
        if (rc == 0 && call.count) {
            const struct meta_message *last = &call.rows[call.count - 1];
            call.query.before_ms = last->sent_ms;
            snprintf(before_id, sizeof before_id, "%s", last->id);
            call.query.before_id = before_id;
        }
        arena_free(&call.arena);
        call.arena = (struct arena){0};
        if (rc < 0)
            return -1;
    } while (call.count == PAGE);
    return 0;
}

// As they came, so that each chat's keep their order.
static int put_all_back(struct flow *f, const char *tenant, int64_t untouched_ms, struct error *err)
{
    struct put_back call = {.flow = f, .untouched_ms = untouched_ms, .query = {.tenant = tenant}};
    do {
        int rc = f->meta.ops->read(f->meta.state, waiting_page, &call, err);
        if (rc == 0 && call.count)
            rc = f->meta.ops->write(f->meta.state, META_SYNCED, put_back_tx, &call, err);
        arena_free(&call.arena);
        call.arena = (struct arena){0};
        if (rc < 0)
            return -1;
    } while (call.count == PAGE);
    return 0;
}

static int tenant_back(struct flow *f, const char *tenant, int64_t untouched_ms, bool dry_run, uint64_t *count,
                       struct error *err)
{
    static const enum message_state waiting[] = {MESSAGE_READY, MESSAGE_QUEUED, MESSAGE_PROCESSING};
    uint64_t found = 0;
    for (size_t s = 0; s < ARRAY_LEN(waiting); s++)
        if (count_state(f, tenant, waiting[s], untouched_ms, &found, err) < 0)
            return -1;
    *count += found;
    return found && !dry_run ? put_all_back(f, tenant, untouched_ms, err) : 0;
}

int message_put_back(struct flow *f, int64_t untouched_ms, bool dry_run, uint64_t *count, struct error *err)
{
    struct put_back all = {.flow = f};
    *count = 0;
    if (f->settings.messages_elsewhere)
        return 0;
    int rc = f->meta.ops->read(f->meta.state, read_tenants, &all, err);
    for (size_t i = 0; rc == 0 && i < all.tenant_count; i++)
        if (!all.tenants[i].leaving_ms)
            rc = tenant_back(f, all.tenants[i].name, untouched_ms, dry_run, count, err);
    arena_free(&all.arena);
    return rc;
}
