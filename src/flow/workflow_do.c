// SPDX-License-Identifier: Apache-2.0
// What matching rules do. All effects are rows, written in the transaction that makes the message processed, which
// happens once: a message that comes again, or whose work was cut off by a kill, does nothing twice.
#include <string.h>

#include "base/clock.h"
#include "base/js.h"
#include "base/log.h"
#include "flow/hook_int.h"
#include "flow/message_int.h"
#include "flow/reply.h"
#include "flow/workflow_int.h"

#define MATCHED "message.matched"

struct doing {
    struct flow *flow;
    struct meta_tx *tx;
    struct arena *arena;
    const struct meta_message *row;
    const struct workflow_subject *subject;
    json_t *metadata;
    const json_t *rule;
    size_t action; // its place among the rule's
};

int workflow_rules(struct flow *f, struct meta_tx *tx, struct arena *arena, const char *tenant, json_t **out,
                   struct error *err)
{
    struct meta_workflow *rows;
    size_t count;
    if (f->meta.ops->workflow_list(tx, arena, tenant, &rows, &count, err) < 0)
        return -1;
    _cleanup_json_ json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *rule = js_parse(rows[i].text, strlen(rows[i].text), err);
        if (!rule)
            return error_prefix(err, "The workflow %s", rows[i].id);
        js_set_str(rule, "id", rows[i].id);
        json_array_append_new(list, rule);
    }
    *out = take_ptr(list);
    return 0;
}

// ---- Telling a webhook

static json_t *message_json(const struct doing *d)
{
    const struct meta_message *m = d->row;
    bool video = m->media_id && strncmp(m->media_id, "vid_", 4) == 0;
    json_t *json = json_pack("{s:s,s:s,s:s,s:b,s:s,s:s?,s:O?}", "messageId", m->id, "chatJid", m->chat, "sender",
                             d->subject->sender, "fromMe", m->from_me, "messageType", m->type, "content", m->content,
                             "metadata", d->metadata);
    js_set_time(json, "sentAt", m->sent_ms);
    js_set_str(json, video ? "videoId" : "imageId", m->media_id);
    return json;
}

static json_t *told_json(const struct doing *d)
{
    return json_pack("{s:s,s:s,s:s?,s:o}", "tenantId", d->row->tenant, "workflowId", js_str(d->rule, "id", ""),
                     "workflow", js_str(d->rule, "name", NULL), "message", message_json(d));
}

static const char *told(const struct doing *d)
{
    _cleanup_json_ json_t *json = told_json(d);
    _cleanup_free_ char *text = js_dumps(json);
    return text ? arena_strdup(d->arena, text) : NULL;
}

static const char *effect_id(const struct doing *d, const char *prefix)
{
    char id[ID_MAX];
    id_derive(prefix,
              arena_printf(d->arena, "%s/%s/%s/%zu", d->row->tenant, d->row->id, js_str(d->rule, "id", ""), d->action),
              NULL, id);
    return arena_strdup(d->arena, id);
}

// A webhook that is gone is no reason to hold up the message.
static int find_webhook(struct doing *d, const char *id, bool *there, struct error *err)
{
    struct meta_webhook *hooks;
    size_t count;
    if (d->flow->meta.ops->webhook_list(d->tx, d->arena, d->row->tenant, &hooks, &count, err) < 0)
        return -1;
    *there = false;
    for (size_t i = 0; i < count; i++)
        *there |= strcmp(hooks[i].id, id) == 0;
    if (!*there)
        log_warn("workflow", "the workflow %s names the webhook %s, which is gone", js_str(d->rule, "id", ""), id);
    return 0;
}

static int notify_webhook(struct doing *d, const char *webhook, struct error *err)
{
    uint64_t waiting;
    bool there;
    const struct meta_ops *meta = d->flow->meta.ops;
    int64_t now = clock_now_ms();
    if (find_webhook(d, webhook, &there, err) < 0)
        return -1;
    if (!there)
        return 0;
    const char *data = told(d), *body = data ? hook_body(d->arena, MATCHED, now, data) : NULL;
    if (!body)
        return error_set(err, ERR_NO_MEMORY, "A delivery cannot be written");
    if (meta->delivery_waiting(d->tx, d->row->tenant, webhook, &waiting, err) < 0)
        return -1;
    bool too_much = waiting >= d->flow->settings.hook_backlog;
    const struct meta_delivery row = {.id = effect_id(d, "msg"),
                                      .webhook = webhook,
                                      .tenant = d->row->tenant,
                                      .item = d->row->chat, // those of one chat are in order
                                      .type = MATCHED,
                                      .body = body};
    return hook_put(d->flow, d->tx, &row, too_much, err);
}

// ---- Replies

// One that cannot be sent is kept as well, and says why.
static int ask(struct doing *d, const char *channel, const char *item, const json_t *what, const char *why,
               struct error *err)
{
    int64_t now = clock_now_ms();
    _cleanup_free_ char *text = js_dumps(what);
    if (!text)
        return error_set(err, ERR_NO_MEMORY, "No memory for a reply");
    const struct meta_reply row = {.id = effect_id(d, "rpl"),
                                   .tenant = d->row->tenant,
                                   .channel = channel,
                                   .workflow = js_str(d->rule, "id", NULL),
                                   .message = d->row->id,
                                   .chat = d->row->chat,
                                   .sender = d->subject->sender,
                                   .item = item,
                                   .what = text,
                                   .state = why ? REPLY_DEAD : REPLY_WAITING,
                                   .not_before_ms = now,
                                   .created_ms = now,
                                   .ended_ms = why ? now : 0,
                                   .error = why};
    return d->flow->meta.ops->reply_put(d->tx, &row, err);
}

static bool is_number(const char *text)
{
    return *text && !text[strspn(text, "0123456789")];
}

// Why nobody can be answered; NULL: they can. Answers go out by the number that the message came to.
static const char *unanswerable(const struct doing *d, const json_t *answer)
{
    const struct whatsapp_settings *settings = &d->flow->settings.whatsapp;
    const char *number = js_str(d->metadata, "phoneNumberId", ""), *word = json_string_value(answer),
               *item = d->row->media_id;
    bool alike = json_object_get(answer, "alike") || (word && strcmp(word, "alike") == 0);
    if (d->row->from_me)
        return "It is a message from us";
    if (strcmp(d->row->tenant, settings->tenant) != 0 || !is_number(number) ||
        (*settings->phone_number_id && strcmp(settings->phone_number_id, number) != 0))
        return "The message did not come by the Cloud API";
    if (alike && (!item || strncmp(item, "img_", 4) != 0))
        return "The message has no picture that was made an item";
    return NULL;
}

static int answer(struct doing *d, json_t *how, struct error *err)
{
    const char *word = json_string_value(how), *command = js_str(js_obj(d->rule, "when"), "command", NULL);
    const char *rest = d->row->content ? d->row->content : "", *why = unanswerable(d, how);
    bool alike = json_object_get(how, "alike") || (word && strcmp(word, "alike") == 0);
    int64_t stopped;
    if (d->flow->meta.ops->optout_get(d->tx, d->row->tenant, d->subject->sender, &stopped, err) < 0)
        return -1;
    if (!why && stopped)
        why = "The sender wants no answers: /stop";
    if (command && d->row->content)
        workflow_command(d->row->content, command, &rest);
    _cleanup_json_ json_t *what =
        json_pack("{s:O,s:s}", "answer", how, "number", js_str(d->metadata, "phoneNumberId", ""));
    if (word ? strcmp(word, "find") == 0 : json_object_get(how, "find") != NULL)
        js_set_str(what, "query", rest);
    return ask(d, "whatsapp", alike ? d->row->media_id : NULL, what, why, err);
}

static int notify(struct doing *d, const json_t *how, struct error *err)
{
    const char *webhook = js_str(how, "webhook", NULL), *email = js_str(how, "email", NULL);
    if (webhook)
        return notify_webhook(d, webhook, err);
    _cleanup_json_ json_t *what = json_object();
    js_set_str(what, "email", email);
    js_set_str(what, "topic", js_str(how, "topic", NULL));
    json_object_set_new(what, "told", told_json(d));
    return ask(d, email ? "email" : "topic", NULL, what, NULL, err);
}

// ---- Matching rules

static int do_rule(struct doing *d, struct error *err)
{
    json_t *action;
    json_array_foreach(js_arr(d->rule, "do"), d->action, action)
    {
        json_t *told = json_object_get(action, "notify"), *how = json_object_get(action, "answer");
        if ((told && notify(d, told, err) < 0) || (how && answer(d, how, err) < 0))
            return -1;
    }
    return 0;
}

int workflow_apply_tx(struct flow *f, struct meta_tx *tx, struct job *job, const struct meta_message *row,
                      struct error *err)
{
    size_t i;
    _cleanup_json_ json_t *rules = NULL, *metadata = NULL;
    if (row->deleted_ms) // before its turn came
        return 0;
    if (reply_wish_tx(f, tx, row, message_sender(&job->event), err) < 0 ||
        workflow_rules(f, tx, &job->arena, row->tenant, &rules, err) < 0)
        return -1;
    if (!json_array_size(rules))
        return 0;
    metadata = js_parse(row->metadata, strlen(row->metadata), err);
    if (!metadata)
        return -1;
    const struct workflow_subject subject = workflow_subject_of(row, metadata);
    struct doing d = {.flow = f, .tx = tx, .arena = &job->arena, .row = row, .subject = &subject, .metadata = metadata};
    json_array_foreach(rules, i, d.rule)
    {
        if (workflow_matches(d.rule, &subject) && do_rule(&d, err) < 0)
            return -1;
    }
    return 0;
}

// ---- Whether there is to be an item

struct ask {
    struct flow *flow;
    struct job *job;
    json_t *rules;
};

static int rules_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct ask *a = arg;
    json_decref(a->rules); // it may run again
    a->rules = NULL;
    return workflow_rules(a->flow, tx, &a->job->arena, a->job->event.tenant, &a->rules, err);
}

// What the first that says anything of it says; NULL: none does.
static const json_t *said_of_ingest(const json_t *rules, const struct workflow_subject *subject)
{
    size_t i, j;
    json_t *rule, *action;
    json_array_foreach((json_t *)rules, i, rule)
    {
        if (!workflow_matches(rule, subject))
            continue;
        json_array_foreach(js_arr(rule, "do"), j, action)
        {
            if (json_object_get(action, "ingest"))
                return json_object_get(action, "ingest");
        }
    }
    return NULL;
}

int workflow_ingest(struct flow *f, struct job *job, bool *wanted, const json_t **tags, struct error *err)
{
    struct ask a = {.flow = f, .job = job};
    const struct event_message *m = &job->event.message;
    const struct workflow_subject subject = {.type = m->type,
                                             .chat = job->event.media_id,
                                             .sender = message_sender(&job->event),
                                             .text = m->content,
                                             .group = js_bool(m->metadata, "isGroup", false),
                                             .from_me = m->from_me};
    int rc = f->meta.ops->read(f->meta.state, rules_tx, &a, err);
    _cleanup_json_ json_t *rules = a.rules;
    if (rc < 0)
        return -1;
    const json_t *said = said_of_ingest(rules, &subject), *list = json_object_get(said, "tags");
    *wanted = !json_is_false(said);
    *tags = NULL;
    if (list)
        *tags = job_hold(job, json_is_array(list) ? json_incref((json_t *)list) : json_pack("[O]", list));
    return 0;
}
