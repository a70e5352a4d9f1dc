// SPDX-License-Identifier: Apache-2.0
// /api/v1/admin/topics: topics and their records.
#include <string.h>

#include "api/api_int.h"

enum { RECORDS_DEFAULT = 20 };

void api_admin_topics(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    json_t *body = NULL;
    struct error err = {0};
    int rc = admin_topics(((struct api *)ctx)->flow, &body, &err);
    api_reply(req, 200, rc, body, &err);
}

void api_admin_topic(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    json_t *body = NULL;
    struct error err = {0};
    int rc = admin_topic(((struct api *)ctx)->flow, http_param(req, "topic"), &body, &err);
    api_reply(req, 200, rc, body, &err);
}

// --- Changing

static int read_change(const json_t *json, struct topic_change *out, struct error *err)
{
    if (api_member_int(json, "partitions", ADMIN_KEEP, &out->partitions, err) < 0 ||
        api_member_int(json, "replication", ADMIN_KEEP, &out->replication, err) < 0 ||
        api_member_int(json, "retentionMs", ADMIN_KEEP, &out->retention_ms, err) < 0)
        return -1;
    return api_member_int(json, "retentionBytes", ADMIN_KEEP, &out->retention_bytes, err);
}

void api_admin_topic_create(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    _cleanup_json_ json_t *json = NULL;
    json_t *body = NULL;
    struct topic_change change;
    struct error err = {0};
    int rc = api_body(req, &json, &err);
    if (rc == 0)
        rc = read_change(json, &change, &err);
    if (rc == 0)
        rc = admin_topic_create(((struct api *)ctx)->flow, js_str(json, "name", ""), &change, &body, &err);
    api_reply(req, 201, rc, body, &err);
}

void api_admin_topic_alter(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    _cleanup_json_ json_t *json = NULL;
    json_t *body = NULL;
    struct topic_change change;
    struct error err = {0};
    int rc = api_body(req, &json, &err);
    if (rc == 0)
        rc = read_change(json, &change, &err);
    if (rc == 0)
        rc = admin_topic_alter(((struct api *)ctx)->flow, http_param(req, "topic"), &change, &body, &err);
    api_reply(req, 200, rc, body, &err);
}

void api_admin_topic_delete(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    json_t *body = NULL;
    struct error err = {0};
    int rc = admin_topic_delete(((struct api *)ctx)->flow, http_param(req, "topic"), &body, &err);
    api_reply(req, 200, rc, body, &err);
}

// What destroys is a dry run unless the body says {"dryRun": false}.
void api_admin_topic_recreate(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    _cleanup_json_ json_t *json = NULL;
    json_t *body = NULL;
    bool dry_run;
    struct error err = {0};
    int rc = api_body(req, &json, &err);
    if (rc == 0)
        rc = api_member_flag(json, "dryRun", true, &dry_run, &err);
    if (rc == 0)
        rc = admin_topic_recreate(((struct api *)ctx)->flow, http_param(req, "topic"), dry_run, &body, &err);
    api_reply(req, 200, rc, body, &err);
}

void api_admin_topics_ensure(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    _cleanup_json_ json_t *json = NULL;
    json_t *body = NULL;
    bool dry_run;
    struct error err = {0};
    int rc = api_body(req, &json, &err);
    if (rc == 0)
        rc = api_member_flag(json, "dryRun", false, &dry_run, &err);
    if (rc == 0)
        rc = admin_topics_ensure(((struct api *)ctx)->flow, dry_run, &body, &err);
    api_reply(req, 200, rc, body, &err);
}

// --- Records

static int read_offset(struct http_request *req, int64_t *out, struct error *err)
{
    const char *text = api_given(req, "offset");
    if (!text || strcmp(text, "latest") == 0)
        *out = -1;
    else if (strcmp(text, "earliest") == 0)
        *out = -2;
    else
        return api_int(req, "offset", 0, INT64_MAX, 0, out, err);
    return 0;
}

static int read_query(struct http_request *req, struct records_query *out, struct error *err)
{
    int64_t partition, limit;
    if (api_int(req, "partition", 0, 1023, -1, &partition, err) < 0 ||
        api_int(req, "limit", 1, RECORDS_MAX, RECORDS_DEFAULT, &limit, err) < 0 ||
        read_offset(req, &out->offset, err) < 0 || api_time(req, "from", &out->from_ms, err) < 0)
        return -1;
    out->partition = (int)partition;
    out->limit = (size_t)limit;
    out->cursor = api_given(req, "cursor");
    out->tenant = api_given(req, "tenantId");
    out->key = api_given(req, "key");
    return 0;
}

void api_admin_records(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    struct records_query query;
    json_t *body = NULL;
    struct error err = {0};
    int rc = read_query(req, &query, &err);
    if (rc == 0)
        rc = admin_records(((struct api *)ctx)->flow, http_param(req, "topic"), &query, &body, &err);
    api_reply(req, 200, rc, body, &err);
}

// The value as it is to stand in the record: `valueBase64` byte for byte, or `value` as compact JSON. malloc'ed.
static int read_value(const json_t *json, void **out, size_t *len, struct error *err)
{
    const char *base64 = js_str(json, "valueBase64", NULL);
    const json_t *value = json_object_get(json, "value");
    if (!base64 == !value)
        return error_set(err, ERR_INVALID, "The body must have `value` or `valueBase64`");
    if (value) {
        char *text = js_dumps(value);
        *out = text;
        *len = text ? strlen(text) : 0;
        return text ? 0 : error_set(err, ERR_NO_MEMORY, "No memory for the record");
    }
    size_t room = strlen(base64);
    _cleanup_free_ unsigned char *bytes = malloc(room + 1);
    if (!bytes)
        return error_set(err, ERR_NO_MEMORY, "No memory for the record");
    if (sodium_base642bin(bytes, room, base64, room, NULL, len, NULL, sodium_base64_VARIANT_ORIGINAL) < 0)
        return error_set(err, ERR_INVALID, "`valueBase64` is no Base64");
    *out = take_ptr(bytes);
    return 0;
}

void api_admin_produce(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    _cleanup_json_ json_t *json = NULL;
    _cleanup_free_ void *value = NULL;
    struct produce record = {0};
    struct error err = {0};
    const char *topic = http_param(req, "topic");
    int rc = api_body(req, &json, &err);
    if (rc == 0)
        rc = read_value(json, &value, &record.value_len, &err);
    record.value = value;
    record.key = js_str(json, "key", NULL);
    record.headers = js_obj(json, "headers");
    if (rc == 0)
        rc = admin_produce(((struct api *)ctx)->flow, topic, &record, &err);
    api_reply(req, 201, rc,
              rc == 0 ? json_pack("{s:s,s:I}", "topic", topic, "bytes", (json_int_t)record.value_len) : NULL, &err);
}
