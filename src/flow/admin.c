// SPDX-License-Identifier: Apache-2.0
// Administration: ledger, tenants, models, topics, records, groups, dead letters.
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/js.h"
#include "flow/flow.h"
#include "flow/step.h"

enum { RECORDS_MAX = 1000, SCAN_CHUNK = 500 };

// --- Ledger, tenants, models

struct ledger_call {
    struct flow *flow;
    const char *tenant;
    struct meta_ledger *out;
};

static int ledger_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct ledger_call *call = arg;
    return call->flow->meta.ops->ledger(tx, call->tenant, call->out, err);
}

int admin_ledger(struct flow *f, const char *tenant, struct meta_ledger *out, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct meta_tenant row;
    if (tenant && flow_tenant(f, &arena, tenant, &row, err) < 0)
        return -1;
    struct ledger_call call = {f, tenant, out};
    return f->meta.ops->read(f->meta.state, ledger_tx, &call, err);
}

bool admin_ledger_closes(const struct meta_ledger *l)
{
    return l->accepted == l->searchable + l->failed + l->deleted + l->in_flight;
}

struct tenants_call {
    struct flow *flow;
    const char *name;
    struct arena *arena;
    struct meta_tenant *rows;
    size_t count;
};

static int tenant_add_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct tenants_call *call = arg;
    return call->flow->meta.ops->tenant_add(tx, call->name, err);
}

int admin_tenant_add(struct flow *f, const char *name, struct error *err)
{
    struct tenants_call call = {.flow = f, .name = name};
    return f->meta.ops->write(f->meta.state, META_SYNCED, tenant_add_tx, &call, err);
}

static int tenant_list_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct tenants_call *call = arg;
    return call->flow->meta.ops->tenant_list(tx, call->arena, &call->rows, &call->count, err);
}

int admin_tenants(struct flow *f, json_t **out, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct tenants_call call = {.flow = f, .arena = &arena};
    if (f->meta.ops->read(f->meta.state, tenant_list_tx, &call, err) < 0)
        return -1;
    json_t *list = json_array();
    for (size_t i = 0; i < call.count; i++) {
        json_t *tenant = json_pack("{s:s}", "name", call.rows[i].name);
        js_set_time(tenant, "createdAt", call.rows[i].created_ms);
        json_array_append_new(list, tenant);
    }
    *out = json_pack("{s:o}", "tenants", list);
    return 0;
}

int admin_models(struct flow *f, json_t **out, struct error *err)
{
    (void)err;
    json_t *list = json_array();
    for (size_t i = 0; i < f->model_count; i++) {
        const struct extractor_model *m = f->models[i].model;
        json_array_append_new(list, json_pack("{s:s,s:s,s:I,s:b}", "name", m->name, "version", m->version, "dimension",
                                              (json_int_t)m->dimension, "default",
                                              strcmp(m->name, f->settings.model_default) == 0));
    }
    *out = json_pack("{s:o}", "models", list);
    return 0;
}

// --- Topics

static json_t *topic_json(const struct elog_topic_info *info, bool whole)
{
    int64_t records = 0, bytes = 0;
    json_t *partitions = json_array();
    for (int i = 0; i < info->config.partitions; i++) {
        const struct elog_partition_info *p = &info->partitions[i];
        records += p->end - p->begin;
        bytes += (int64_t)p->bytes;
        json_t *one = json_pack("{s:i,s:I,s:I,s:I,s:n}", "partition", p->partition, "begin", (json_int_t)p->begin,
                                "end", (json_int_t)p->end, "bytes", (json_int_t)p->bytes, "oldestAt");
        js_set_time(one, "oldestAt", p->oldest_ms);
        json_array_append_new(partitions, one);
    }
    enum event_topic topic;
    const char *type = event_topic_parse(info->name, &topic) == 0 ? event_topic_type(topic) : "";
    json_t *json =
        json_pack("{s:s,s:s,s:I,s:I,s:I,s:I}", "name", info->name, "type", type, "retentionMs",
                  (json_int_t)info->config.retention_ms, "retentionBytes", (json_int_t)info->config.retention_bytes,
                  "records", (json_int_t)records, "bytes", (json_int_t)bytes);
    if (whole) {
        json_object_set_new(json, "partitions", partitions);
    } else {
        json_object_set_new(json, "partitions", json_integer(info->config.partitions));
        json_decref(partitions);
    }
    return json;
}

int admin_topics(struct flow *f, json_t **out, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct elog_topic_info *infos;
    size_t count;
    if (f->log.ops->topic_list(f->log.state, &arena, &infos, &count, err) < 0)
        return -1;
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, topic_json(&infos[i], false));
    *out = json_pack("{s:o}", "topics", list);
    return 0;
}

int admin_topic(struct flow *f, const char *topic, json_t **out, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct elog_topic_info info;
    if (f->log.ops->topic_describe(f->log.state, &arena, topic, &info, err) < 0)
        return -1;
    *out = topic_json(&info, true);
    return 0;
}

// --- Records

static void set_value(json_t *json, const void *value, size_t len)
{
    json_t *parsed = js_parse(value, len, NULL);
    if (parsed) {
        json_object_set_new(json, "value", parsed);
        return;
    }
    size_t room = sodium_base64_ENCODED_LEN(len, sodium_base64_VARIANT_ORIGINAL);
    _cleanup_free_ char *text = malloc(room);
    if (text)
        js_set_str(json, "valueBase64", sodium_bin2base64(text, room, value, len, sodium_base64_VARIANT_ORIGINAL));
}

// Keys and headers are any bytes; NULL stays NULL.
static json_t *text_json(const char *text)
{
    _cleanup_free_ char *utf8 = text ? js_utf8(text, strlen(text)) : NULL;
    return utf8 ? json_string(utf8) : NULL;
}

static json_t *record_json(const struct elog_record *r)
{
    json_t *headers = json_object();
    for (size_t i = 0; i < r->header_count; i++) {
        _cleanup_free_ char *name = js_utf8(r->headers[i].name, strlen(r->headers[i].name));
        json_object_set_new(headers, name, text_json(r->headers[i].value));
    }
    json_t *json = json_pack("{s:s,s:i,s:I,s:o?,s:o}", "topic", r->topic, "partition", r->partition, "offset",
                             (json_int_t)r->offset, "key", text_json(r->key), "headers", headers);
    js_set_time(json, "timestamp", r->timestamp_ms);
    set_value(json, r->value, r->value_len);
    return json;
}

static int by_time(const void *a, const void *b)
{
    const struct elog_record *x = a, *y = b;
    if (x->timestamp_ms != y->timestamp_ms)
        return x->timestamp_ms < y->timestamp_ms ? -1 : 1;
    if (x->partition != y->partition)
        return x->partition < y->partition ? -1 : 1;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static int64_t start_offset(const struct elog_partition_info *p, int64_t offset, size_t limit)
{
    if (offset == -2)
        return p->begin;
    if (offset >= 0)
        return offset < p->begin ? p->begin : offset;
    return p->end - (int64_t)limit > p->begin ? p->end - (int64_t)limit : p->begin;
}

int admin_records(struct flow *f, const char *topic, int partition, int64_t offset, size_t limit, json_t **out,
                  struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct elog_topic_info info;
    limit = limit < RECORDS_MAX ? limit : RECORDS_MAX;
    if (f->log.ops->topic_describe(f->log.state, &arena, topic, &info, err) < 0)
        return -1;
    if (partition >= info.config.partitions)
        return error_set(err, ERR_NOT_FOUND, "Topic %s has no partition %d", topic, partition);
    struct elog_record *all = arena_alloc(&arena, ((size_t)info.config.partitions * limit + 1) * sizeof *all);
    size_t total = 0;
    for (int p = 0; p < info.config.partitions; p++) {
        struct elog_record *some;
        size_t count;
        if (partition >= 0 && p != partition)
            continue;
        int64_t from = start_offset(&info.partitions[p], offset, limit);
        if (f->log.ops->peek(f->log.state, &arena, topic, p, from, limit, &some, &count, err) < 0)
            return -1;
        memcpy(all + total, some, count * sizeof *some);
        total += count;
    }
    qsort(all, total, sizeof *all, by_time);
    size_t first = offset == -1 && total > limit ? total - limit : 0;
    json_t *list = json_array();
    for (size_t i = first; i < total && i < first + limit; i++)
        json_array_append_new(list, record_json(&all[i]));
    *out = json_pack("{s:o}", "records", list);
    return 0;
}

// --- Groups

static json_t *group_json(const struct elog_group_info *info)
{
    int64_t lag = 0;
    json_t *partitions = json_array();
    for (size_t i = 0; i < info->partition_count; i++) {
        const struct elog_group_partition *p = &info->partitions[i];
        lag += p->lag;
        json_array_append_new(partitions,
                              json_pack("{s:s,s:i,s:I,s:I,s:I,s:I,s:s?}", "topic", p->topic, "partition", p->partition,
                                        "committed", (json_int_t)p->committed, "end", (json_int_t)p->end, "lag",
                                        (json_int_t)p->lag, "lagMs", (json_int_t)p->lag_ms, "member", p->member));
    }
    return json_pack("{s:s,s:I,s:I,s:o}", "name", info->name, "members", (json_int_t)info->members, "lag",
                     (json_int_t)lag, "partitions", partitions);
}

int admin_group(struct flow *f, const char *group, json_t **out, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct elog_group_info info;
    if (f->log.ops->group_describe(f->log.state, &arena, group, &info, err) < 0)
        return -1;
    *out = group_json(&info);
    return 0;
}

int admin_groups(struct flow *f, json_t **out, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct elog_group_info *infos;
    size_t count;
    if (f->log.ops->group_list(f->log.state, &arena, &infos, &count, err) < 0)
        return -1;
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        struct elog_group_info info;
        if (f->log.ops->group_describe(f->log.state, &arena, infos[i].name, &info, err) < 0) {
            json_decref(list);
            return -1;
        }
        json_t *group = group_json(&info);
        json_object_del(group, "partitions");
        json_array_append_new(list, group);
    }
    *out = json_pack("{s:o}", "groups", list);
    return 0;
}

// --- Dead letters: records of their topic, read where they stand

static const char *header(const struct elog_record *r, const char *name)
{
    for (size_t i = 0; i < r->header_count; i++)
        if (strcmp(r->headers[i].name, name) == 0)
            return r->headers[i].value;
    return NULL;
}

// Tenant, item and event of a message, as far as it can be read.
static void name_event(json_t *json, const struct elog_record *r)
{
    _cleanup_arena_ struct arena arena = {0};
    _cleanup_json_ json_t *root = NULL;
    struct event event;
    enum event_topic topic;
    const char *name = header(r, "__dlq.errors.topic");
    if (!name || event_topic_parse(name, &topic) < 0 ||
        event_decode(topic, r->value, r->value_len, "", &arena, &event, &root, NULL) < 0)
        return;
    js_set_str(json, "tenantId", event.tenant);
    js_set_str(json, "mediaId", event.media_id);
    js_set_str(json, "eventId", event.id);
}

static json_t *deadletter_json(const struct elog_record *r)
{
    const char *count = header(r, "__dlq.errors.delivery.count");
    json_t *json = json_pack("{s:s?,s:s?,s:s?,s:s?,s:o?,s:i,s:o?}", "topic", header(r, "__dlq.errors.topic"), "group",
                             header(r, "__dlq.errors.group"), "stage", header(r, "__dlq.errors.stage"), "code",
                             header(r, "__dlq.errors.code"), "message", text_json(header(r, "__dlq.errors.message")),
                             "deliveryCount", count ? (int)strtol(count, NULL, 10) : 0, "key", text_json(r->key));
    char id[48];
    snprintf(id, sizeof id, "%d-%lld", r->partition, (long long)r->offset);
    js_set_str(json, "id", id);
    const char *partition = header(r, "__dlq.errors.partition"), *offset = header(r, "__dlq.errors.offset");
    json_object_set_new(json, "partition", json_integer(partition ? (int)strtol(partition, NULL, 10) : -1));
    json_object_set_new(json, "offset", json_integer(offset ? strtoll(offset, NULL, 10) : -1));
    js_set_time(json, "failedAt", r->timestamp_ms);
    name_event(json, r);
    return json;
}

static bool wanted(const json_t *letter, const struct deadletter_query *q)
{
    const struct {
        const char *key, *value;
    } tests[] = {{"code", q->code}, {"stage", q->stage}, {"topic", q->topic}, {"tenantId", q->tenant}};
    for (size_t i = 0; i < ARRAY_LEN(tests); i++)
        if (tests[i].value && strcmp(js_str(letter, tests[i].key, ""), tests[i].value) != 0)
            return false;
    return true;
}

static int scan_partition(struct flow *f, const struct elog_partition_info *p, const struct deadletter_query *query,
                          json_t *list, struct error *err)
{
    const char *topic = event_topic_name(TOPIC_DEADLETTER);
    for (int64_t offset = p->begin; offset < p->end && json_array_size(list) < query->limit;) {
        _cleanup_arena_ struct arena arena = {0};
        struct elog_record *records;
        size_t count;
        if (f->log.ops->peek(f->log.state, &arena, topic, p->partition, offset, SCAN_CHUNK, &records, &count, err) < 0)
            return -1;
        if (!count)
            break;
        offset = records[count - 1].offset + 1;
        for (size_t i = 0; i < count && json_array_size(list) < query->limit; i++) {
            json_t *letter = deadletter_json(&records[i]);
            if (wanted(letter, query))
                json_array_append(list, letter);
            json_decref(letter);
        }
    }
    return 0;
}

int admin_deadletters(struct flow *f, const struct deadletter_query *query, json_t **out, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct elog_topic_info info;
    if (f->log.ops->topic_describe(f->log.state, &arena, event_topic_name(TOPIC_DEADLETTER), &info, err) < 0)
        return -1;
    _cleanup_json_ json_t *list = json_array();
    for (int p = 0; p < info.config.partitions; p++)
        if (scan_partition(f, &info.partitions[p], query, list, err) < 0)
            return -1;
    *out = json_pack("{s:O}", "items", list);
    return 0;
}

static int find_deadletter(struct flow *f, struct arena *arena, const char *id, struct elog_record **out,
                           struct error *err)
{
    int partition;
    long long offset;
    int used = 0;
    if (sscanf(id, "%d-%lld%n", &partition, &offset, &used) != 2 || id[used] || partition < 0 || offset < 0)
        return error_set(err, ERR_INVALID_ID, "\"%.64s\" is not a dead letter's id: they look like 0-12", id);
    size_t count;
    struct error why = {0};
    if (f->log.ops->peek(f->log.state, arena, event_topic_name(TOPIC_DEADLETTER), partition, offset, 1, out, &count,
                         &why) < 0 &&
        why.code != ERR_NOT_FOUND)
        return error_copy(err, &why);
    if (why.code || !count || (*out)->offset != offset)
        return error_set(err, ERR_NOT_FOUND, "There is no dead letter %.64s", id);
    return 0;
}

int admin_deadletter(struct flow *f, const char *id, json_t **out, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct elog_record *record = NULL;
    if (find_deadletter(f, &arena, id, &record, err) < 0)
        return -1;
    json_t *json = deadletter_json(record), *whole = record_json(record);
    static const char *const more[] = {"headers", "value", "valueBase64"};
    for (size_t i = 0; i < ARRAY_LEN(more); i++)
        if (json_object_get(whole, more[i]))
            json_object_set(json, more[i], json_object_get(whole, more[i]));
    json_decref(whole);
    *out = json;
    return 0;
}

// The next attempts follow those that were spent, so that the inbox lets the first replay through and no second one.
static int reissue(struct flow *f, const struct elog_record *letter, const struct event *event, struct buf *out,
                   int *attempt, struct error *err)
{
    const char *count = header(letter, "__dlq.errors.delivery.count");
    int spent = count ? (int)strtol(count, NULL, 10) : 0;
    int each = f->settings.retry_attempts;
    *attempt = spent + 1;
    return event_reissue(letter->value, letter->value_len, event->id, spent + 1, spent + each, out, err);
}

static size_t original_headers(const struct elog_record *letter, struct elog_header out[ELOG_HEADERS_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < letter->header_count && count < ELOG_HEADERS_MAX; i++)
        if (strncmp(letter->headers[i].name, "__dlq.", 6) != 0)
            out[count++] = letter->headers[i];
    return count;
}

int admin_deadletter_replay(struct flow *f, const char *id, json_t **out, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    _cleanup_json_ json_t *root = NULL;
    _cleanup_buf_ struct buf text = BUF_INIT(17 << 20);
    struct elog_record *letter = NULL;
    struct event event;
    enum event_topic topic;
    if (find_deadletter(f, &arena, id, &letter, err) < 0)
        return -1;
    const char *name = header(letter, "__dlq.errors.topic");
    if (!name || event_topic_parse(name, &topic) < 0)
        return error_set(err, ERR_EVENT_INVALID, "Dead letter %.64s does not say which topic it came from", id);
    char fallback[ID_MAX];
    const char *place = arena_printf(&arena, "%s/%s/%s", name, header(letter, "__dlq.errors.partition"),
                                     header(letter, "__dlq.errors.offset"));
    id_derive("evt", place, NULL, fallback);
    bool readable = event_decode(topic, letter->value, letter->value_len, fallback, &arena, &event, &root, NULL) == 0;
    int attempt = 1;
    if (readable && reissue(f, letter, &event, &text, &attempt, err) < 0)
        return -1;
    struct elog_header headers[ELOG_HEADERS_MAX];
    const struct elog_record record = {.topic = name,
                                       .key = letter->key,
                                       .value = readable ? text.data : letter->value,
                                       .value_len = readable ? text.len : letter->value_len,
                                       .headers = headers,
                                       .header_count = original_headers(letter, headers)};
    if (f->log.ops->publish(f->log.state, &record, 1, err) < 0)
        return -1;
    *out = json_pack("{s:s,s:s,s:s?,s:i}", "id", id, "topic", name, "eventId", readable ? event.id : NULL, "attempt",
                     attempt);
    return 0;
}
