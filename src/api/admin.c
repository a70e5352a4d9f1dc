// SPDX-License-Identifier: Apache-2.0
// /api/v1/admin: ledger, tenants, models, topics, groups, dead letters.
#include <string.h>

#include "api/api_int.h"

enum { RECORDS_DEFAULT = 20, RECORDS_MOST = 1000 };

static void reply(struct http_request *req, int status, int rc, json_t *body, const struct error *err)
{
    if (rc < 0)
        http_reply_error(req, err);
    else
        http_reply_json(req, status, body);
}

void api_admin_ledger(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    struct api *api = ctx;
    struct meta_ledger l;
    struct error err = {0};
    const char *tenant = http_query(req, "tenantId");
    int rc = admin_ledger(api->flow, tenant && *tenant ? tenant : NULL, &l, &err);
    json_t *body = NULL;
    if (rc == 0)
        body = json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:b}", "accepted", (json_int_t)l.accepted, "searchable",
                         (json_int_t)l.searchable, "failed", (json_int_t)l.failed, "deleted", (json_int_t)l.deleted,
                         "inFlight", (json_int_t)l.in_flight, "duplicates", (json_int_t)l.duplicates, "closes",
                         admin_ledger_closes(&l));
    reply(req, 200, rc, body, &err);
}

void api_admin_tenants(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    json_t *body = NULL;
    struct error err = {0};
    int rc = admin_tenants(((struct api *)ctx)->flow, &body, &err);
    reply(req, 200, rc, body, &err);
}

void api_admin_tenant_add(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    struct api *api = ctx;
    struct error err = {0};
    size_t len;
    const char *text = http_body(req, &len);
    _cleanup_json_ json_t *json = js_parse(text, len, &err);
    const char *name = js_str(json, "name", NULL);
    if (!json || !name) {
        if (json)
            error_set(&err, ERR_INVALID, "The body must be {\"name\": \"…\"}");
        http_reply_error(req, &err);
        return;
    }
    int rc = admin_tenant_add(api->flow, name, &err);
    reply(req, 201, rc, rc == 0 ? json_pack("{s:s}", "name", name) : NULL, &err);
}

void api_admin_models(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    json_t *body = NULL;
    struct error err = {0};
    int rc = admin_models(((struct api *)ctx)->flow, &body, &err);
    reply(req, 200, rc, body, &err);
}

void api_admin_topics(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    json_t *body = NULL;
    struct error err = {0};
    int rc = admin_topics(((struct api *)ctx)->flow, &body, &err);
    reply(req, 200, rc, body, &err);
}

void api_admin_topic(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    json_t *body = NULL;
    struct error err = {0};
    int rc = admin_topic(((struct api *)ctx)->flow, http_param(req, "topic"), &body, &err);
    reply(req, 200, rc, body, &err);
}

static int read_offset(struct http_request *req, int64_t *out, struct error *err)
{
    const char *text = http_query(req, "offset");
    if (!text || !*text || strcmp(text, "latest") == 0)
        *out = -1;
    else if (strcmp(text, "earliest") == 0)
        *out = -2;
    else
        return api_int(req, "offset", 0, INT64_MAX, 0, out, err);
    return 0;
}

void api_admin_records(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    struct api *api = ctx;
    int64_t partition, offset, limit;
    json_t *body = NULL;
    struct error err = {0};
    int rc = api_int(req, "partition", 0, 1023, -1, &partition, &err);
    if (rc == 0)
        rc = api_int(req, "limit", 1, RECORDS_MOST, RECORDS_DEFAULT, &limit, &err);
    if (rc == 0)
        rc = read_offset(req, &offset, &err);
    if (rc == 0)
        rc = admin_records(api->flow, http_param(req, "topic"), (int)partition, offset, (size_t)limit, &body, &err);
    reply(req, 200, rc, body, &err);
}

void api_admin_groups(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    json_t *body = NULL;
    struct error err = {0};
    int rc = admin_groups(((struct api *)ctx)->flow, &body, &err);
    reply(req, 200, rc, body, &err);
}

void api_admin_group(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    json_t *body = NULL;
    struct error err = {0};
    int rc = admin_group(((struct api *)ctx)->flow, http_param(req, "group"), &body, &err);
    reply(req, 200, rc, body, &err);
}

void api_admin_deadletters(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    struct api *api = ctx;
    int64_t limit;
    json_t *body = NULL;
    struct error err = {0};
    struct deadletter_query query = {.code = api_given(req, "code"),
                                     .stage = api_given(req, "stage"),
                                     .topic = api_given(req, "topic"),
                                     .tenant = api_given(req, "tenantId")};
    int rc = api_int(req, "limit", 1, RECORDS_MOST, RECORDS_MOST, &limit, &err);
    query.limit = (size_t)limit;
    if (rc == 0)
        rc = admin_deadletters(api->flow, &query, &body, &err);
    reply(req, 200, rc, body, &err);
}

void api_admin_deadletter(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    json_t *body = NULL;
    struct error err = {0};
    int rc = admin_deadletter(((struct api *)ctx)->flow, http_param(req, "id"), &body, &err);
    reply(req, 200, rc, body, &err);
}

void api_admin_replay(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    json_t *body = NULL;
    struct error err = {0};
    int rc = admin_deadletter_replay(((struct api *)ctx)->flow, http_param(req, "id"), &body, &err);
    reply(req, 202, rc, body, &err);
}
