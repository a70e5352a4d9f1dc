// SPDX-License-Identifier: Apache-2.0
// /api/v1/messages: what bridges hand over, and what became of it.
#include <stdio.h>
#include <string.h>

#include "api/api_int.h"
#include "base/clock.h"
#include "flow/message.h"
#include "flow/reply.h"

enum { PAGE = 50, PAGE_MAX = 200, EXPORT_REPLIES = 9999 };

// --- How a message looks

static void set_reactions(json_t *json, const struct meta_message *m)
{
    const char *who;
    json_t *one, *list = json_array();
    _cleanup_json_ json_t *all = m->reactions ? js_parse(m->reactions, strlen(m->reactions), NULL) : NULL;
    json_object_foreach(all, who, one)
    {
        if (!*js_str(one, "emoji", "")) // taken back
            continue;
        json_t *shown = json_pack("{s:s,s:s}", "sender", who, "emoji", js_str(one, "emoji", ""));
        js_set_time(shown, "sentAt", js_int(one, "ms", 0));
        json_array_append_new(list, shown);
    }
    json_object_set_new(json, "reactions", list);
}

static void set_media(json_t *json, const struct meta_message *m)
{
    if (!m->media_id)
        return;
    bool video = strncmp(m->media_id, "vid_", 4) == 0;
    js_set_str(json, video ? "videoId" : "imageId", m->media_id);
    json_object_set_new(json, "mediaUrl", json_sprintf("/api/v1/%s/%s", video ? "videos" : "images", m->media_id));
}

static json_t *message_json(const struct meta_message *m)
{
    json_t *metadata = js_parse(m->metadata, strlen(m->metadata), NULL);
    json_t *json =
        json_pack("{s:s,s:s,s:s,s:b,s:s,s:s,s:s?,s:o}", "messageId", m->id, "tenantId", m->tenant, "chatJid", m->chat,
                  "fromMe", m->from_me, "messageType", m->type, "state", message_state_name(m->state), "content",
                  m->content, "metadata", metadata ? metadata : json_object());
    js_set_str(json, "sender", m->sender);
    js_set_time(json, "sentAt", m->sent_ms);
    js_set_time(json, "receivedAt", m->received_ms);
    js_set_time(json, "updatedAt", m->updated_ms);
    js_set_time(json, "editedAt", m->edited_ms);
    js_set_time(json, "deletedAt", m->deleted_ms);
    js_set_str(json, "targetMessageId", m->target);
    js_set_str(json, "delivery", m->delivery);
    set_reactions(json, m);
    set_media(json, m);
    if (m->error_code)
        json_object_set_new(json, "error", json_pack("{s:s,s:s?}", "code", m->error_code, "message", m->error_message));
    return json;
}

// --- Taking

struct given { // what a body says
    struct event *events;
    json_t **roots; // that the events point into
    size_t count;
    const char *tenant;
    bool batch;
};

static void given_free(struct given *g)
{
    for (size_t i = 0; i < g->count; i++)
        json_decref(g->roots[i]);
}

// A misspelt member is noticed.
static int check_members(const json_t *message, bool batch, struct error *err)
{
    static const char *const known[] = {"messageId", "chatJid",   "fromMe",   "messageType",
                                        "content",   "timestamp", "metadata", "tenantId"};
    size_t most = batch ? ARRAY_LEN(known) - 1 : ARRAY_LEN(known); // a batch says the tenant once
    const char *key;
    json_t *value;
    if (!json_is_object(message))
        return error_set(err, ERR_INVALID, "A message must be a JSON object");
    json_object_foreach((json_t *)message, key, value)
    {
        size_t i = 0;
        while (i < most && strcmp(known[i], key) != 0)
            i++;
        if (i == most)
            return error_set(err, ERR_INVALID, "The member \"%.60s\" is not known", key);
    }
    return 0;
}

// Reads a message as the step would.
static int read_message(struct arena *arena, const json_t *message, struct given *g, struct error *err)
{
    struct error why = {0};
    if (check_members(message, g->batch, err) < 0)
        return -1;
    _cleanup_free_ char *text = js_dumps(message);
    if (!text)
        return error_set(err, ERR_NO_MEMORY, "No memory for a message");
    if (event_decode(TOPIC_MESSAGES, text, strlen(text), "evt_none", arena, &g->events[g->count], &g->roots[g->count],
                     &why) < 0)
        return why.code == ERR_EVENT_INVALID ? error_set(err, ERR_INVALID, "%s", why.message) : error_copy(err, &why);
    g->events[g->count++].more_data = NULL;
    return 0;
}

static int read_batch(struct arena *arena, const json_t *list, struct given *g, struct error *err)
{
    size_t i, count = json_array_size(list);
    const json_t *message;
    if (!json_is_array(list) || !count || count > MESSAGE_BATCH_MAX)
        return error_set(err, ERR_INVALID, "`messages` must be an array of 1 to %d messages", MESSAGE_BATCH_MAX);
    g->events = arena_alloc(arena, count * sizeof *g->events);
    g->roots = arena_alloc(arena, count * sizeof *g->roots);
    json_array_foreach((json_t *)list, i, message)
    {
        if (read_message(arena, message, g, err) < 0)
            return error_prefix(err, "Message %zu", i);
    }
    return 0;
}

static int read_given(struct http_request *req, const json_t *body, struct given *g, struct error *err)
{
    struct arena *arena = http_arena(req);
    const char *tenant;
    const json_t *list = json_object_get(body, "messages");
    if (api_member_text(body, "tenantId", &tenant, err) < 0 || api_tenant(req, tenant, &g->tenant, err) < 0)
        return -1;
    g->batch = list != NULL;
    if (g->batch && json_object_size(body) > (json_object_get(body, "tenantId") ? 2U : 1U))
        return error_set(err, ERR_INVALID, "Beside `messages` a batch may say its `tenantId`, and no more");
    if (g->batch)
        return read_batch(arena, list, g, err);
    g->events = arena_alloc(arena, sizeof *g->events);
    g->roots = arena_alloc(arena, sizeof *g->roots);
    return read_message(arena, body, g, err);
}

static json_t *taken_json(const struct message_taken *t)
{
    return json_pack("{s:s,s:s,s:b}", "messageId", t->id, "state", message_state_name(t->state), "duplicate",
                     t->duplicate);
}

static json_t *answer_json(const struct given *g, const struct message_taken *taken, bool *fresh)
{
    *fresh = false;
    for (size_t i = 0; i < g->count; i++)
        *fresh |= !taken[i].duplicate;
    if (!g->batch)
        return taken_json(taken);
    json_t *list = json_array();
    for (size_t i = 0; i < g->count; i++)
        json_array_append_new(list, taken_json(&taken[i]));
    return json_pack("{s:o}", "items", list);
}

void api_message_take(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    bool fresh = false;
    struct given given = {0};
    struct error err = {0};
    struct arena *arena = http_arena(req);
    _cleanup_json_ json_t *body = NULL;
    json_t *answer = NULL;
    int rc = api_body(req, &body, &err) < 0 ? -1 : read_given(req, body, &given, &err);
    if (rc == 0) {
        struct message_taken *taken = arena_alloc(arena, given.count * sizeof *taken);
        rc = message_take(api_flow(ctx), given.tenant, given.events, given.count, arena, taken, &err);
        if (rc == 0)
            answer = answer_json(&given, taken, &fresh);
    }
    given_free(&given);
    api_reply(req, fresh ? 202 : 200, rc, answer, &err);
}

// --- Reading

void api_message_get(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    const char *tenant;
    struct meta_message message = {0};
    json_t *body = NULL;
    struct error err = {0};
    int rc = api_tenant(req, NULL, &tenant, &err);
    if (rc == 0)
        rc = message_get(api_flow(ctx), http_arena(req), tenant, http_param(req, "id"), &message, &err);
    if (rc == 0)
        body = message_json(&message);
    api_reply(req, 200, rc, body, &err);
}

static int read_cursor(const char *text, struct message_query *query, struct error *err)
{
    long long ms;
    int used = 0;
    if (!text)
        return 0;
    if (sscanf(text, "%lld.%n", &ms, &used) != 1 || !used || !text[used])
        return error_set(err, ERR_INVALID_CURSOR, "The cursor is not one that DeepLens gave");
    query->before_ms = ms;
    query->before_id = text + used;
    return 0;
}

static int read_query(struct http_request *req, struct message_query *q, struct error *err)
{
    int64_t limit;
    enum message_state state;
    const char *given = api_given(req, "state");
    if (given && message_state_parse(given, &state) < 0)
        return error_set(err, ERR_INVALID, "`state` must be pending, ready, queued, processing, processed or failed");
    q->state = given ? (int)state : -1;
    q->chat = api_given(req, "chatJid");
    q->type = api_given(req, "messageType");
    q->of = api_given(req, "sender");
    if (api_tenant(req, NULL, &q->tenant, err) < 0 || api_time(req, "from", &q->from_ms, err) < 0 ||
        api_time(req, "to", &q->to_ms, err) < 0 || api_int(req, "limit", 1, PAGE_MAX, PAGE, &limit, err) < 0)
        return -1;
    q->limit = (size_t)limit;
    return read_cursor(api_given(req, "cursor"), q, err);
}

// One by its id, which may hold what a path cannot.
static void reply_one(struct http_request *req, struct api *api, const char *tenant, const char *id)
{
    struct meta_message message = {0};
    struct error err = {0};
    int rc = message_get(api->flow, http_arena(req), tenant, id, &message, &err);
    if (rc < 0 && err.code != ERR_NOT_FOUND) {
        http_reply_error(req, &err);
        return;
    }
    json_t *items = json_array();
    if (rc == 0)
        json_array_append_new(items, message_json(&message));
    http_reply_json(req, 200, json_pack("{s:o,s:n}", "items", items, "nextCursor"));
}

void api_messages(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    const char *id = api_given(req, "messageId");
    struct message_query query = {0};
    struct meta_message *rows;
    size_t count;
    struct error err = {0};
    if (read_query(req, &query, &err) < 0) {
        http_reply_error(req, &err);
        return;
    }
    if (id) {
        reply_one(req, ctx, query.tenant, id);
        return;
    }
    size_t limit = query.limit++; // one more tells whether there is a next page
    if (message_list(api_flow(ctx), http_arena(req), &query, &rows, &count, &err) < 0) {
        http_reply_error(req, &err);
        return;
    }
    json_t *items = json_array();
    for (size_t i = 0; i < count && i < limit; i++)
        json_array_append_new(items, message_json(&rows[i]));
    json_t *next =
        count > limit ? json_sprintf("%lld.%s", (long long)rows[limit - 1].sent_ms, rows[limit - 1].id) : json_null();
    http_reply_json(req, 200, json_pack("{s:o,s:o}", "items", items, "nextCursor", next));
}

// ---- Everything of one sender

static int read_sender(const struct http_request *req, const char *const *known, json_t **json, const char **tenant,
                       const char **sender, struct error *err)
{
    const char *given;
    if (api_body_known(req, known, json, err) < 0 || api_member_text(*json, "sender", sender, err) < 0 ||
        api_member_text(*json, "tenantId", &given, err) < 0)
        return -1;
    return api_tenant(req, given, tenant, err);
}

void api_messages_erase(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    static const char *const known[] = {"tenantId", "sender", "dryRun", NULL};
    const char *tenant, *sender;
    bool dry_run;
    _cleanup_json_ json_t *json = NULL;
    json_t *body = NULL;
    struct error err = {0};
    int rc = read_sender(req, known, &json, &tenant, &sender, &err);
    if (rc == 0)
        rc = api_member_flag(json, "dryRun", false, &dry_run, &err);
    if (rc == 0)
        rc = message_erase(api_flow(ctx), tenant, sender, dry_run, &body, &err);
    api_reply(req, 200, rc, body, &err);
}

// A page of their messages; with the first one, what was said to them.
static int export_page(struct http_request *req, struct flow *f, struct message_query *q, json_t **out,
                       struct error *err)
{
    int64_t stopped_ms;
    struct meta_message *rows;
    size_t count;
    json_t *replies = NULL;
    const struct reply_list_query said = {.tenant = q->tenant, .sender = q->of, .limit = EXPORT_REPLIES};
    if (message_stopped(f, q->tenant, q->of, &stopped_ms, err) < 0 ||
        message_list(f, http_arena(req), q, &rows, &count, err) < 0 ||
        (!q->before_id && reply_list(f, &said, &replies, err) < 0))
        return -1;
    json_t *items = json_array(), *next = json_null();
    for (size_t i = 0; i < count && i < PAGE_MAX; i++)
        json_array_append_new(items, message_json(&rows[i]));
    if (count > PAGE_MAX)
        next = json_sprintf("%lld.%s", (long long)rows[PAGE_MAX - 1].sent_ms, rows[PAGE_MAX - 1].id);
    *out = json_pack("{s:s,s:o,s:o}", "sender", q->of, "messages", items, "nextCursor", next);
    js_set_time(*out, "stoppedAt", stopped_ms);
    if (replies)
        json_object_set(*out, "replies", json_object_get(replies, "items"));
    json_decref(replies);
    return 0;
}

void api_messages_export(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    static const char *const known[] = {"tenantId", "sender", "cursor", NULL};
    const char *cursor;
    struct message_query query = {.state = -1, .limit = PAGE_MAX + 1};
    _cleanup_json_ json_t *json = NULL;
    json_t *body = NULL;
    struct error err = {0};
    int rc = read_sender(req, known, &json, &query.tenant, &query.of, &err);
    if (rc == 0)
        rc = api_member_text(json, "cursor", &cursor, &err);
    if (rc == 0)
        rc = read_cursor(cursor, &query, &err);
    if (rc == 0)
        rc = export_page(req, api_flow(ctx), &query, &body, &err);
    api_reply(req, 200, rc, body, &err);
}
