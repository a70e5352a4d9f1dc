// SPDX-License-Identifier: Apache-2.0
// Dead letters: records of their topic, read where they stand.
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "flow/admin_int.h"

enum { SCAN_CHUNK = 500 };

static const char *header(const struct elog_record *r, const char *name)
{
    for (size_t i = 0; i < r->header_count; i++)
        if (strcmp(r->headers[i].name, name) == 0)
            return r->headers[i].value;
    return NULL;
}

// Of a message that is JSON, though not the event that it should be.
static void name_message(json_t *json, const struct elog_record *r)
{
    _cleanup_json_ json_t *root = js_parse(r->value, r->value_len, NULL);
    const json_t *data = js_obj(root, "data");
    const char *image = js_str(root, "imageId", js_str(data, "imageId", NULL));
    js_set_str(json, "tenantId", js_str(root, "tenantId", NULL));
    js_set_str(json, "mediaId", image ? image : js_str(root, "videoId", js_str(data, "videoId", NULL)));
    js_set_str(json, "eventId", js_str(root, "eventId", NULL));
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
        event_decode(topic, r->value, r->value_len, "", &arena, &event, &root, NULL) < 0) {
        name_message(json, r);
        return;
    }
    js_set_str(json, "tenantId", event.tenant);
    js_set_str(json, "mediaId", event.media_id);
    js_set_str(json, "eventId", event.id);
}

static json_t *deadletter_json(const struct elog_record *r)
{
    const char *count = header(r, "__dlq.errors.delivery.count");
    json_t *json =
        json_pack("{s:s?,s:s?,s:s?,s:s?,s:o?,s:i,s:o?}", "topic", header(r, "__dlq.errors.topic"), "group",
                  header(r, "__dlq.errors.group"), "stage", header(r, "__dlq.errors.stage"), "code",
                  header(r, "__dlq.errors.code"), "message", admin_text_json(header(r, "__dlq.errors.message")),
                  "deliveryCount", count ? (int)strtol(count, NULL, 10) : 0, "key", admin_text_json(r->key));
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
    } tests[] = {
        {"code", q->code}, {"stage", q->stage}, {"topic", q->topic}, {"tenantId", q->tenant}, {"group", q->group}};
    for (size_t i = 0; i < ARRAY_LEN(tests); i++)
        if (tests[i].value && strcmp(js_str(letter, tests[i].key, ""), tests[i].value) != 0)
            return false;
    return true;
}

static int parse_id(const char *id, int32_t *partition, int64_t *offset, struct error *err)
{
    int number, used = 0;
    long long place;
    if (sscanf(id, "%d-%lld%n", &number, &place, &used) != 2 || id[used] || number < 0 || place < 0)
        return error_set(err, ERR_INVALID_ID, "\"%.64s\" is not a dead letter's id: they look like 0-12", id);
    *partition = number;
    *offset = place;
    return 0;
}

static bool in_time(const struct elog_record *r, const struct deadletter_query *q)
{
    return (!q->from_ms || r->timestamp_ms >= q->from_ms) && (!q->to_ms || r->timestamp_ms < q->to_ms);
}

static int scan_partition(struct flow *f, const struct elog_partition_info *p, int64_t from,
                          const struct deadletter_query *query, json_t *list, struct error *err)
{
    const char *topic = event_topic_name(TOPIC_DEADLETTER);
    for (int64_t offset = from; offset < p->end && json_array_size(list) < query->limit;) {
        _cleanup_arena_ struct arena arena = {0};
        struct elog_record *records;
        size_t count;
        if (f->log.ops->peek(f->log.state, &arena, topic, p->partition, offset, SCAN_CHUNK, &records, &count, err) < 0)
            return -1;
        if (!count)
            break;
        offset = records[count - 1].offset + 1;
        for (size_t i = 0; i < count && json_array_size(list) < query->limit; i++) {
            json_t *letter = in_time(&records[i], query) ? deadletter_json(&records[i]) : NULL;
            if (letter && wanted(letter, query))
                json_array_append(list, letter);
            json_decref(letter);
        }
    }
    return 0;
}

// Partition after partition, so that an answer's last id says where the next one begins.
int admin_deadletters(struct flow *f, const struct deadletter_query *query, json_t **out, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct elog_topic_info info;
    int32_t first = 0;
    int64_t behind = -1;
    if (query->cursor && parse_id(query->cursor, &first, &behind, err) < 0)
        return -1;
    if (f->log.ops->topic_describe(f->log.state, &arena, event_topic_name(TOPIC_DEADLETTER), &info, err) < 0)
        return -1;
    _cleanup_json_ json_t *list = json_array();
    for (int32_t n = first; n < info.config.partitions; n++) {
        const struct elog_partition_info *p = &info.partitions[n];
        int64_t from = n == first && behind >= p->begin ? behind + 1 : p->begin;
        if (scan_partition(f, p, from, query, list, err) < 0)
            return -1;
    }
    size_t count = json_array_size(list);
    const char *last = count && count == query->limit ? js_str(json_array_get(list, count - 1), "id", NULL) : NULL;
    *out = json_pack("{s:O,s:s?}", "items", list, "nextCursor", last);
    return 0;
}

static int find_deadletter(struct flow *f, struct arena *arena, const char *id, struct elog_record **out,
                           struct error *err)
{
    int32_t partition = 0;
    int64_t offset = 0;
    size_t count;
    if (parse_id(id, &partition, &offset, err) < 0)
        return -1;
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
    json_t *json = deadletter_json(record), *whole = admin_record_json(record);
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
    name = event_topic_name(topic); // as it is called now
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

// --- Purging

int admin_deadletters_purge(struct flow *f, int64_t before_ms, bool dry_run, json_t **out, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    const char *topic = event_topic_name(TOPIC_DEADLETTER);
    struct elog_topic_info info;
    int64_t removed = 0, left = 0;
    if (f->log.ops->topic_describe(f->log.state, &arena, topic, &info, err) < 0)
        return -1;
    for (int32_t n = 0; n < info.config.partitions; n++) {
        const struct elog_partition_info *p = &info.partitions[n];
        int64_t until = p->end;
        if (before_ms && f->log.ops->offset_at(f->log.state, topic, n, before_ms, &until, err) < 0)
            return -1;
        until = until < p->end ? until : p->end; // what failed meanwhile stays
        if (!dry_run && until > p->begin && f->log.ops->records_delete(f->log.state, topic, n, until, err) < 0)
            return -1;
        removed += until > p->begin ? until - p->begin : 0;
        left += p->end - (until > p->begin ? until : p->begin);
    }
    *out = json_pack("{s:b,s:I,s:I}", "dryRun", dry_run, "removed", (json_int_t)removed, "left", (json_int_t)left);
    return 0;
}
