// SPDX-License-Identifier: Apache-2.0
// /api/v1/admin: ledger, tenants.
#include <string.h>

#include "api/api_int.h"
#include "flow/near.h"

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

static int alter_tenant(struct http_request *req, struct api *api, json_t **out, struct error *err)
{
    _cleanup_json_ json_t *json = NULL;
    const char *tenant = http_param(req, "tenant");
    if (api_body(req, &json, err) < 0)
        return -1;
    const json_t *policy = json_object_get(json, "duplicatePolicy");
    if (!policy || json_object_size(json) != 1 || (!json_is_null(policy) && !json_is_string(policy)))
        return error_set(err, ERR_INVALID,
                         "The body must be {\"duplicatePolicy\": \"keep\", \"link\", \"reject\" or null}");
    if (near_policy_set(api->flow, tenant, json_string_value(policy), err) < 0)
        return -1;
    *out = json_pack("{s:s,s:s?}", "name", tenant, "duplicatePolicy", json_string_value(policy));
    return 0;
}

void api_admin_tenant_alter(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    struct error err = {0};
    json_t *body = NULL;
    int rc = alter_tenant(req, ctx, &body, &err);
    api_reply(req, 200, rc, body, &err);
}

void api_admin_tenant_remove(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    struct error err = {0};
    json_t *body = NULL;
    bool dry_run;
    int rc = api_flag(req, "dryRun", false, &dry_run, &err);
    if (rc == 0)
        rc = admin_tenant_remove(api_flow(ctx), http_param(req, "tenant"), dry_run, &body, &err);
    bool going_on = rc == 0 && strcmp(js_str(body, "status", ""), "removing") == 0;
    api_reply(req, going_on ? 202 : 200, rc, body, &err);
}
