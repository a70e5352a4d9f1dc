// SPDX-License-Identifier: Apache-2.0
// /api/v1/admin: ledger, tenants, models.
#include <string.h>

#include "api/api_int.h"

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
    api_reply(req, 200, rc, body, &err);
}

void api_admin_tenants(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    json_t *body = NULL;
    struct error err = {0};
    int rc = admin_tenants(((struct api *)ctx)->flow, &body, &err);
    api_reply(req, 200, rc, body, &err);
}

void api_admin_tenant_add(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    struct api *api = ctx;
    struct error err = {0};
    _cleanup_json_ json_t *json = NULL;
    if (api_body(req, &json, &err) == 0 && !js_str(json, "name", NULL))
        error_set(&err, ERR_INVALID, "The body must be {\"name\": \"…\"}");
    const char *name = js_str(json, "name", NULL);
    if (!name) {
        http_reply_error(req, &err);
        return;
    }
    int rc = admin_tenant_add(api->flow, name, &err);
    api_reply(req, 201, rc, rc == 0 ? json_pack("{s:s}", "name", name) : NULL, &err);
}

void api_admin_models(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    json_t *body = NULL;
    struct error err = {0};
    const char *tenant = http_query(req, "tenantId");
    int rc = admin_models(((struct api *)ctx)->flow, tenant && *tenant ? tenant : NULL, &body, &err);
    api_reply(req, 200, rc, body, &err);
}

void api_admin_model_use(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    struct flow *flow = ((struct api *)ctx)->flow;
    struct error err = {0};
    size_t len;
    const char *text = http_body(req, &len);
    _cleanup_json_ json_t *json = js_parse(text, len, &err);
    const char *model = js_str(json, "model", NULL), *tenant = js_str(json, "tenantId", NULL);
    json_t *body = NULL;
    int rc = -1;
    if (json && !model)
        error_set(&err, ERR_INVALID, "The body must be {\"model\": \"...\"}, with \"tenantId\" for one tenant");
    else if (json && (rc = flow_model_use(flow, tenant, model, &err)) == 0)
        rc = admin_models(flow, tenant, &body, &err);
    api_reply(req, 200, rc, body, &err);
}
