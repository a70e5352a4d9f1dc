// SPDX-License-Identifier: Apache-2.0
// /api/v1/workflows: a tenant's rules for messages, and what they would do; /api/v1/replies: what they had to say.
#include "api/api_int.h"
#include "base/clock.h"
#include "flow/reply.h"
#include "flow/workflow.h"

enum { LOOKED_AT = 100, LOOKED_AT_MAX = 1000, PAGE = 50, PAGE_MAX = 200 };

void api_workflows(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    const char *tenant;
    json_t *body = NULL;
    struct error err = {0};
    int rc = api_tenant(req, NULL, &tenant, &err) < 0 ? -1 : workflow_list(api_flow(ctx), tenant, &body, &err);
    api_reply(req, 200, rc, body, &err);
}

// The tenant that the body names, which is no part of a rule.
static int body_tenant(const struct http_request *req, json_t *json, const char **out, struct error *err)
{
    const char *given;
    return api_member_text(json, "tenantId", &given, err) < 0 ? -1 : api_tenant(req, given, out, err);
}

void api_workflow_add(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    static const char *const known[] = {"tenantId", "name", "when", "do", NULL};
    const char *tenant;
    _cleanup_json_ json_t *json = NULL, *rule = NULL;
    json_t *body = NULL;
    struct error err = {0};
    int rc = api_body_known(req, known, &json, &err);
    if (rc == 0)
        rc = body_tenant(req, json, &tenant, &err);
    if (rc == 0) {
        rule = json_copy(json);
        json_object_del(rule, "tenantId");
        rc = workflow_add(api_flow(ctx), tenant, rule, &body, &err);
    }
    api_reply(req, 201, rc, body, &err);
}

void api_workflow_remove(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    const char *tenant;
    struct error err = {0};
    int rc = api_tenant(req, NULL, &tenant, &err);
    if (rc == 0)
        rc = workflow_remove(api_flow(ctx), tenant, http_param(req, "id"), &err);
    if (rc == 0)
        http_reply_empty(req, 204);
    else
        http_reply_error(req, &err);
}

static int read_time(const json_t *json, const char *name, int64_t *out, struct error *err)
{
    const char *text;
    if (api_member_text(json, name, &text, err) < 0)
        return -1;
    if (!text || clock_parse(text, out) == 0)
        return 0;
    return error_set(err, ERR_INVALID, "`%s` must be a time such as 2026-11-22T10:30:00Z", name);
}

static int read_query(const struct http_request *req, json_t *json, struct workflow_query *q, struct error *err)
{
    int64_t limit;
    q->rule = json_object_get(json, "workflow");
    if (body_tenant(req, json, &q->tenant, err) < 0 || api_member_text(json, "messageId", &q->message, err) < 0 ||
        api_member_int(json, "limit", LOOKED_AT, &limit, err) < 0 || read_time(json, "from", &q->from_ms, err) < 0 ||
        read_time(json, "to", &q->to_ms, err) < 0)
        return -1;
    if (limit < 1 || limit > LOOKED_AT_MAX)
        return error_set(err, ERR_INVALID, "`limit` is 1 to %d", LOOKED_AT_MAX);
    q->limit = (size_t)limit;
    return 0;
}

void api_workflow_test(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    static const char *const known[] = {"tenantId", "workflow", "messageId", "from", "to", "limit", NULL};
    struct workflow_query query = {0};
    _cleanup_json_ json_t *json = NULL;
    json_t *body = NULL;
    struct error err = {0};
    int rc = api_body_known(req, known, &json, &err);
    if (rc == 0)
        rc = read_query(req, json, &query, &err);
    if (rc == 0)
        rc = workflow_test(api_flow(ctx), &query, &body, &err);
    api_reply(req, 200, rc, body, &err);
}

void api_replies(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    int64_t limit = PAGE;
    json_t *body = NULL;
    struct error err = {0};
    struct reply_list_query query = {.chat = api_given(req, "chatJid"),
                                     .message = api_given(req, "messageId"),
                                     .state = api_given(req, "state"),
                                     .cursor = api_given(req, "cursor")};
    int rc = api_tenant(req, NULL, &query.tenant, &err);
    if (rc == 0)
        rc = api_int(req, "limit", 1, PAGE_MAX, PAGE, &limit, &err);
    query.limit = (size_t)limit;
    if (rc == 0)
        rc = reply_list(api_flow(ctx), &query, &body, &err);
    api_reply(req, 200, rc, body, &err);
}
