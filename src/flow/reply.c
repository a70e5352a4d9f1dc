// SPDX-License-Identifier: Apache-2.0
// What is known of replies, who does not want any, and what is heard of them.
#include "flow/reply.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/js.h"
#include "flow/message_int.h"
#include "flow/reply_int.h"
#include "flow/workflow_int.h"

// ---- Who does not want any

int reply_wish_tx(struct flow *f, struct meta_tx *tx, const struct meta_message *row, const char *sender,
                  struct error *err)
{
    const char *rest;
    int64_t now = clock_now_ms();
    const struct meta_ops *meta = f->meta.ops;
    if (row->from_me || !row->content || strcmp(row->type, "text") != 0)
        return 0;
    if (workflow_command(row->content, "/start", &rest))
        return meta->optout_remove(tx, row->tenant, sender, err);
    if (!workflow_command(row->content, "/stop", &rest))
        return 0;
    if (meta->optout_put(tx, row->tenant, sender, now, err) < 0)
        return -1;
    return meta->reply_cancel(tx, row->tenant, sender, now, "The sender wants no answers: /stop", err);
}

// ---- What becomes of one

static int64_t delay_ms(const struct flow *f, int attempts)
{
    int64_t delay = f->settings.hook_retry_base_ms, most = f->settings.hook_retry_max_ms;
    for (int i = 1; i < attempts && delay < most; i++)
        delay *= 2;
    if (delay > most)
        delay = most;
    return delay / 2 + (int64_t)randombytes_uniform((uint32_t)(delay / 2 + 1));
}

void reply_end(struct flow *f, struct meta_reply *row, const struct reply_result *result)
{
    static const enum reply_state states[] = {[OUTCOME_SENT] = REPLY_SENT,
                                              [OUTCOME_LATER] = REPLY_WAITING,
                                              [OUTCOME_PAUSE] = REPLY_WAITING,
                                              [OUTCOME_DEAD] = REPLY_DEAD,
                                              [OUTCOME_UNCERTAIN] = REPLY_UNCERTAIN};
    int64_t now = clock_now_ms();
    bool last = result->outcome == OUTCOME_LATER && row->attempts >= f->settings.hook_attempts;
    row->state = last ? REPLY_DEAD : states[result->outcome];
    row->sent_id = result->sent_id;
    row->error_code = result->code;
    row->error = result->error.code ? result->error.message : NULL;
    if (result->outcome == OUTCOME_PAUSE)
        row->attempts--;
    if (row->state == REPLY_WAITING)
        row->not_before_ms = now + delay_ms(f, row->attempts);
    else
        row->ended_ms = now;
}

// The message that it became, as the chat's others are kept. Its statuses may have come before.
int reply_became_tx(struct flow *f, struct meta_tx *tx, struct arena *arena, const struct meta_reply *row,
                    struct error *err)
{
    int64_t now = clock_now_ms();
    if (!row->sent_id)
        return 0;
    const struct meta_message said = {
        .id = row->sent_id,
        .tenant = row->tenant,
        .chat = row->chat,
        .from_me = true,
        .type = "text",
        .state = MESSAGE_PROCESSED,
        .content = row->text,
        .metadata = arena_printf(arena, "{\"replyId\":\"%s\"}", row->id), // an id of ours: nothing to be escaped
        .event_id = row->id,
        .sent_ms = now,
        .received_ms = now,
        .updated_ms = now};
    return message_said_tx(f, tx, arena, &said, err);
}

// ---- What is heard of one

static void hear_failure(struct arena *arena, const json_t *metadata, struct meta_reply *row)
{
    const json_t *error = json_array_get(js_arr(metadata, "errors"), 0);
    int64_t code = js_int(error, "code", 0);
    const char *details = js_str(js_obj(error, "error_data"), "details", NULL);
    row->error_code = code ? arena_printf(arena, "%" PRId64, code) : NULL;
    row->error = arena_strdup(arena, details ? details : js_str(error, "title", "It could not be delivered"));
}

int reply_heard_tx(struct flow *f, struct meta_tx *tx, struct arena *arena, const json_t *metadata,
                   const struct meta_message *by, struct meta_message *target, struct error *err)
{
    struct meta_reply row;
    struct error why = {0};
    const char *id = js_str(metadata, "replyId", NULL);
    if (!id)
        return 0;
    if (f->meta.ops->reply_get(tx, arena, by->tenant, id, &row, &why) < 0)
        return why.code == ERR_NOT_FOUND ? 0 : error_copy(err, &why);
    if (strcmp(row.chat, by->chat) != 0 || (row.sent_id && strcmp(row.sent_id, target->id) != 0))
        return 0;
    if (row.state != REPLY_SENT) { // its answer was lost, or is on its way
        row.state = REPLY_SENT;
        row.ended_ms = clock_now_ms();
        row.sent_id = target->id;
        row.error_code = row.error = NULL;
    }
    if (by->content && strcmp(by->content, "failed") == 0)
        hear_failure(arena, metadata, &row);
    if (target->state == MESSAGE_PENDING && !target->deleted_ms) {
        target->state = MESSAGE_PROCESSED;
        target->type = "text";
        target->content = row.text;
    }
    return f->meta.ops->reply_put(tx, &row, err);
}

// ---- For readers

struct listing {
    struct flow *flow;
    struct arena arena;
    struct reply_query query;
    struct meta_reply *rows;
    const char **delivery; // of each row; NULL: not known
    size_t count;
};

static int list_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct listing *l = arg;
    struct meta_tenant tenant;
    const struct meta_ops *meta = l->flow->meta.ops;
    if (meta->tenant_get(tx, &l->arena, l->query.tenant, &tenant, err) < 0 ||
        meta->reply_list(tx, &l->arena, &l->query, &l->rows, &l->count, err) < 0)
        return -1;
    l->delivery = arena_alloc(&l->arena, (l->count + 1) * sizeof *l->delivery);
    for (size_t i = 0; i < l->count; i++) {
        struct meta_message said;
        struct error why = {0};
        if (!l->rows[i].sent_id)
            continue;
        if (meta->message_get(tx, &l->arena, l->query.tenant, l->rows[i].sent_id, &said, &why) == 0)
            l->delivery[i] = said.delivery;
        else if (why.code != ERR_NOT_FOUND)
            return error_copy(err, &why);
    }
    return 0;
}

static json_t *reply_json(const struct meta_reply *row, const char *delivery)
{
    json_t *json = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:i}", "id", row->id, "tenantId", row->tenant, "channel",
                             row->channel, "messageId", row->message, "chatJid", row->chat, "state",
                             reply_state_name(row->state), "attempts", row->attempts);
    js_set_str(json, "workflowId", row->workflow);
    js_set_str(json, "text", row->text);
    js_set_str(json, "sentMessageId", row->sent_id);
    js_set_str(json, "delivery", delivery);
    js_set_time(json, "createdAt", row->created_ms);
    js_set_time(json, "endedAt", row->ended_ms);
    if (row->state == REPLY_WAITING && row->attempts)
        js_set_time(json, "nextAttemptAt", row->not_before_ms);
    if (row->error)
        json_object_set_new(json, "error", json_pack("{s:s?,s:s}", "code", row->error_code, "message", row->error));
    return json;
}

static int read_query(const struct reply_list_query *given, struct reply_query *out, struct error *err)
{
    char *end;
    enum reply_state state;
    *out = (struct reply_query){.tenant = given->tenant,
                                .chat = given->chat,
                                .message = given->message,
                                .of = given->sender,
                                .state = -1,
                                .limit = given->limit + 1}; // one more tells whether there is a next page
    if (given->state && reply_state_parse(given->state, &state) < 0)
        return error_set(err, ERR_INVALID, "`state` is waiting, sending, sent, uncertain or unsent");
    if (given->state)
        out->state = (int)state;
    if (!given->cursor)
        return 0;
    out->before = strtoll(given->cursor, &end, 10);
    if (end == given->cursor || *end || out->before < 1)
        return error_set(err, ERR_INVALID_CURSOR, "The cursor is none that an answer gave");
    return 0;
}

int reply_list(struct flow *f, const struct reply_list_query *query, json_t **out, struct error *err)
{
    struct listing l = {.flow = f};
    if (flow_tenant_check(query->tenant, err) < 0 || read_query(query, &l.query, err) < 0)
        return -1;
    int rc = f->meta.ops->read(f->meta.state, list_tx, &l, err);
    if (rc == 0) {
        json_t *items = json_array();
        for (size_t i = 0; i < l.count && i < query->limit; i++)
            json_array_append_new(items, reply_json(&l.rows[i], l.delivery[i]));
        json_t *next = l.count > query->limit ? json_sprintf("%" PRId64, l.rows[query->limit - 1].num) : json_null();
        *out = json_pack("{s:o,s:o}", "items", items, "nextCursor", next);
    }
    arena_free(&l.arena);
    return rc;
}
