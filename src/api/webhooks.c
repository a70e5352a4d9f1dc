// SPDX-License-Identifier: Apache-2.0
// /api/v1/admin/webhooks: who is told of what happens, and the log of deliveries.
#include <string.h>

#include "api/api_int.h"
#include "flow/hook.h"

enum { PAGE = 100, PAGE_MAX = 1000 };
#define DAY_MS (INT64_C(24) * 3600 * 1000)

void api_webhooks(struct http_request *req, void *ctx, void *sink)
{
    const char *tenant;
    json_t *body = NULL;
    struct error err = {0};
    int rc = api_tenant(req, NULL, &tenant, &err) < 0 ? -1 : hook_list(api_flow(ctx), tenant, &body, &err);
    api_reply(req, 200, rc, body, &err);
}

static int read_wish(const struct http_request *req, const json_t *json, struct hook_wish *out, struct error *err)
{
    const char *tenant;
    out->types = json_object_get(json, "types");
    if (api_member_text(json, "tenantId", &tenant, err) < 0 || api_member_text(json, "url", &out->url, err) < 0 ||
        api_member_text(json, "secret", &out->secret, err) < 0)
        return -1;
    return api_tenant(req, tenant, &out->tenant, err);
}

void api_webhook_add(struct http_request *req, void *ctx, void *sink)
{
    static const char *const known[] = {"tenantId", "url", "types", "secret", NULL};
    struct hook_wish wish = {0};
    _cleanup_json_ json_t *json = NULL;
    json_t *body = NULL;
    struct error err = {0};
    int rc = api_body_known(req, known, &json, &err);
    if (rc == 0)
        rc = read_wish(req, json, &wish, &err);
    if (rc == 0)
        rc = hook_add(api_flow(ctx), &wish, &body, &err);
    api_reply(req, 201, rc, body, &err);
}

void api_webhook_remove(struct http_request *req, void *ctx, void *sink)
{
    const char *tenant;
    struct error err = {0};
    int rc =
        api_tenant(req, NULL, &tenant, &err) < 0 ? -1 : hook_remove(api_flow(ctx), tenant, http_param(req, "id"), &err);
    if (rc == 0)
        http_reply_empty(req, 204);
    else
        http_reply_error(req, &err);
}

void api_webhook_rotate(struct http_request *req, void *ctx, void *sink)
{
    static const char *const known[] = {"tenantId", "overlapMs", NULL};
    const char *given, *tenant;
    int64_t overlap_ms;
    _cleanup_json_ json_t *json = NULL;
    json_t *body = NULL;
    struct error err = {0};
    int rc = api_body_known(req, known, &json, &err);
    if (rc == 0)
        rc = api_member_text(json, "tenantId", &given, &err);
    if (rc == 0)
        rc = api_tenant(req, given, &tenant, &err);
    if (rc == 0)
        rc = api_member_int(json, "overlapMs", DAY_MS, &overlap_ms, &err);
    if (rc == 0 && (overlap_ms < 0 || overlap_ms > 90 * DAY_MS))
        rc = error_set(&err, ERR_INVALID, "`overlapMs` is 0 to 90 days");
    if (rc == 0)
        rc = hook_rotate(api_flow(ctx), tenant, http_param(req, "id"), overlap_ms, &body, &err);
    api_reply(req, 200, rc, body, &err);
}

void api_webhook_test(struct http_request *req, void *ctx, void *sink)
{
    const char *tenant;
    json_t *body = NULL;
    struct error err = {0};
    int rc = api_tenant(req, NULL, &tenant, &err) < 0
                 ? -1
                 : hook_test(api_flow(ctx), tenant, http_param(req, "id"), &body, &err);
    api_reply(req, 202, rc, body, &err);
}

void api_webhook_deliveries(struct http_request *req, void *ctx, void *sink)
{
    int64_t limit = PAGE;
    json_t *body = NULL;
    struct error err = {0};
    struct hook_query query = {
        .webhook = http_param(req, "id"), .state = api_given(req, "state"), .cursor = api_given(req, "cursor")};
    int rc = api_tenant(req, NULL, &query.tenant, &err);
    if (rc == 0)
        rc = api_int(req, "limit", 1, PAGE_MAX, PAGE, &limit, &err);
    query.limit = (size_t)limit;
    if (rc == 0)
        rc = hook_deliveries(api_flow(ctx), &query, &body, &err);
    api_reply(req, 200, rc, body, &err);
}

void api_webhook_delivery(struct http_request *req, void *ctx, void *sink)
{
    const char *tenant;
    json_t *body = NULL;
    struct error err = {0};
    int rc = api_tenant(req, NULL, &tenant, &err);
    if (rc == 0)
        rc = hook_delivery(api_flow(ctx), tenant, http_param(req, "id"), http_param(req, "delivery"), &body, &err);
    api_reply(req, 200, rc, body, &err);
}

void api_webhook_replay(struct http_request *req, void *ctx, void *sink)
{
    const char *tenant;
    json_t *body = NULL;
    struct error err = {0};
    int rc = api_tenant(req, NULL, &tenant, &err);
    if (rc == 0)
        rc = hook_replay(api_flow(ctx), tenant, http_param(req, "id"), http_param(req, "delivery"), &body, &err);
    api_reply(req, 202, rc, body, &err);
}
