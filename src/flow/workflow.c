// SPDX-License-Identifier: Apache-2.0
// Rules listed, added, removed, and tried on past messages.
#include <string.h>

#include "base/clock.h"
#include "base/js.h"
#include "flow/message_int.h"
#include "flow/workflow_int.h"
#include "obs/alert_send.h"

struct call {
    struct flow *flow;
    struct arena arena;
    const char *tenant, *id;
    const json_t *rule;
    struct meta_workflow row;
    json_t *rules;
    struct meta_message *messages, one;
    struct message_query past;
    size_t count;
};

static int run(struct call *c, bool writes, meta_tx_fn *fn, struct error *err)
{
    const struct meta *meta = &c->flow->meta;
    return writes ? meta->ops->write(meta->state, META_SYNCED, fn, c, err) : meta->ops->read(meta->state, fn, c, err);
}

static int knows_tenant(struct meta_tx *tx, struct call *c, struct error *err)
{
    struct meta_tenant tenant;
    return c->flow->meta.ops->tenant_get(tx, &c->arena, c->tenant, &tenant, err);
}

static int rules_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct call *c = arg;
    json_decref(c->rules); // it may run again
    c->rules = NULL;
    return knows_tenant(tx, c, err) < 0 ? -1 : workflow_rules(c->flow, tx, &c->arena, c->tenant, &c->rules, err);
}

// ---- Listed

static json_t *workflow_json(const struct meta_workflow *row)
{
    json_t *json = js_parse(row->text, strlen(row->text), NULL);
    js_set_str(json, "id", row->id);
    js_set_str(json, "tenantId", row->tenant);
    js_set_time(json, "createdAt", row->created_ms);
    return json;
}

struct listing {
    struct call call;
    struct meta_workflow *rows;
};

static int list_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct listing *l = arg;
    struct call *c = &l->call;
    return knows_tenant(tx, c, err) < 0
               ? -1
               : c->flow->meta.ops->workflow_list(tx, &c->arena, c->tenant, &l->rows, &c->count, err);
}

int workflow_list(struct flow *f, const char *tenant, json_t **out, struct error *err)
{
    struct listing l = {.call = {.flow = f, .tenant = tenant}};
    int rc = flow_tenant_check(tenant, err) < 0 ? -1 : f->meta.ops->read(f->meta.state, list_tx, &l, err);
    if (rc == 0) {
        json_t *list = json_array();
        for (size_t i = 0; i < l.call.count; i++)
            json_array_append_new(list, workflow_json(&l.rows[i]));
        *out = json_pack("{s:o}", "workflows", list);
    }
    arena_free(&l.call.arena);
    return rc;
}

// ---- Added and removed

static int check_mail(const struct flow *f, const char *to, struct error *err)
{
    if (!f->settings.mail)
        return error_set(err, ERR_INVALID, "no e-mail can be sent: alert.smtp is not set");
    struct alert_config config = *f->settings.mail;
    struct error why = {0};
    config.mail_to = to;
    return strchr(to, ',') || alert_channels_check(&config, &why) < 0
               ? error_set(err, ERR_INVALID, "\"%.100s\" is no e-mail address", to)
               : 0;
}

// Not those of the pipeline: what is no event of theirs would be dead letters.
static int check_topic(struct flow *f, struct arena *arena, const char *name, struct error *err)
{
    enum event_topic ours;
    struct elog_topic_info info;
    struct error why = {0};
    if (event_topic_parse(name, &ours) == 0)
        return error_set(err, ERR_INVALID, "%s is a topic of the pipeline", name);
    if (f->log.ops->topic_describe(f->log.state, arena, name, &info, &why) == 0)
        return 0;
    return why.code == ERR_NOT_FOUND ? error_set(err, ERR_INVALID, "there is no topic %.100s", name)
                                     : error_copy(err, &why);
}

static int check_ways(struct call *c, struct error *err)
{
    size_t at;
    json_t *action;
    json_array_foreach(js_arr(c->rule, "do"), at, action)
    {
        const json_t *how = json_object_get(action, "notify");
        const char *email = js_str(how, "email", NULL), *topic = js_str(how, "topic", NULL);
        if ((email && check_mail(c->flow, email, err) < 0) ||
            (topic && check_topic(c->flow, &c->arena, topic, err) < 0))
            return error_prefix(err, "do[%zu]", at);
    }
    return 0;
}

// A webhook that a rule names is the tenant's own.
static int check_webhooks(struct meta_tx *tx, struct call *c, struct error *err)
{
    struct meta_webhook *hooks;
    size_t count, at, i;
    json_t *action;
    if (c->flow->meta.ops->webhook_list(tx, &c->arena, c->tenant, &hooks, &count, err) < 0)
        return -1;
    json_array_foreach(js_arr(c->rule, "do"), at, action)
    {
        const char *id = js_str(json_object_get(action, "notify"), "webhook", NULL);
        for (i = 0; id && i < count && strcmp(hooks[i].id, id) != 0; i++)
            ;
        if (id && i == count)
            return error_set(err, ERR_INVALID, "do[%zu]: there is no webhook %.80s", at, id);
    }
    return 0;
}

static int add_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct call *c = arg;
    struct meta_workflow *rows;
    if (knows_tenant(tx, c, err) < 0 || check_webhooks(tx, c, err) < 0 ||
        c->flow->meta.ops->workflow_list(tx, &c->arena, c->tenant, &rows, &c->count, err) < 0)
        return -1;
    if (c->count >= WORKFLOWS_MAX)
        return error_set(err, ERR_CONFLICT, "There are %d workflows, and more are not possible", WORKFLOWS_MAX);
    return c->flow->meta.ops->workflow_put(tx, &c->row, err);
}

int workflow_add(struct flow *f, const char *tenant, const json_t *rule, json_t **out, struct error *err)
{
    char id[ID_MAX];
    struct call c = {.flow = f, .tenant = tenant, .rule = rule};
    if (flow_tenant_check(tenant, err) < 0 || workflow_check(rule, err) < 0)
        return -1;
    _cleanup_free_ char *text = js_dumps(rule);
    if (!text)
        return error_set(err, ERR_NO_MEMORY, "No memory for a workflow");
    id_new("wfl", id);
    c.row = (struct meta_workflow){.id = id, .tenant = tenant, .text = text, .created_ms = clock_now_ms()};
    int rc = check_ways(&c, err) < 0 ? -1 : run(&c, true, add_tx, err);
    if (rc == 0)
        *out = workflow_json(&c.row);
    arena_free(&c.arena);
    return rc;
}

static int remove_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct call *c = arg;
    return c->flow->meta.ops->workflow_remove(tx, c->tenant, c->id, err);
}

int workflow_remove(struct flow *f, const char *tenant, const char *id, struct error *err)
{
    struct call c = {.flow = f, .tenant = tenant, .id = id};
    return flow_tenant_check(tenant, err) < 0 ? -1 : run(&c, true, remove_tx, err);
}

// ---- Tried

static int past_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct call *c = arg;
    const struct meta_ops *meta = c->flow->meta.ops;
    if (knows_tenant(tx, c, err) < 0)
        return -1;
    if (!c->id)
        return meta->message_list(tx, &c->arena, &c->past, &c->messages, &c->count, err);
    c->messages = &c->one;
    c->count = 1;
    return meta->message_get(tx, &c->arena, c->tenant, c->id, &c->one, err);
}

static void try_one(const struct meta_message *row, const json_t *rules, json_t *matched)
{
    size_t i;
    json_t *rule;
    _cleanup_json_ json_t *metadata = js_parse(row->metadata, strlen(row->metadata), NULL);
    const struct workflow_subject subject = workflow_subject_of(row, metadata);
    if (row->deleted_ms || row->state == MESSAGE_PENDING)
        return;
    json_array_foreach((json_t *)rules, i, rule)
    {
        if (!workflow_matches(rule, &subject))
            continue;
        json_t *one = json_pack("{s:s,s:O}", "messageId", row->id, "do", json_object_get(rule, "do"));
        js_set_str(one, "workflowId", js_str(rule, "id", NULL));
        js_set_str(one, "name", js_str(rule, "name", NULL));
        json_array_append_new(matched, one);
    }
}

int workflow_test(struct flow *f, const struct workflow_query *query, json_t **out, struct error *err)
{
    struct call c = {.flow = f,
                     .tenant = query->tenant,
                     .id = query->message,
                     .past = {.tenant = query->tenant,
                              .state = -1,
                              .from_ms = query->from_ms,
                              .to_ms = query->to_ms,
                              .limit = query->limit}};
    if (flow_tenant_check(query->tenant, err) < 0 || (query->rule && workflow_check(query->rule, err) < 0))
        return -1;
    int rc = run(&c, false, past_tx, err);
    if (rc == 0 && query->rule)
        c.rules = json_pack("[O]", query->rule);
    else if (rc == 0)
        rc = run(&c, false, rules_tx, err);
    if (rc == 0) {
        json_t *matched = json_array();
        for (size_t i = 0; i < c.count; i++)
            try_one(&c.messages[i], c.rules, matched);
        *out = json_pack("{s:I,s:o}", "checked", (json_int_t)c.count, "matched", matched);
    }
    json_decref(c.rules);
    arena_free(&c.arena);
    return rc;
}
