// SPDX-License-Identifier: Apache-2.0
// /api/v1/admin/models and /api/v1/admin/rebuilds: what there is, which is taken, and bringing what is there under it.
#include <string.h>

#include "api/api_int.h"
#include "flow/rebuild.h"

enum { SAMPLES = 50 };

static void reply_models(struct http_request *req, struct flow *flow, const char *tenant, int rc,
                         const struct error *why)
{
    json_t *body = NULL;
    struct error err = {0};
    if (rc < 0)
        err = *why;
    else
        rc = admin_models(flow, tenant, &body, &err);
    api_reply(req, 200, rc, body, &err);
}

void api_admin_models(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    reply_models(req, ((struct api *)ctx)->flow, api_given(req, "tenantId"), 0, NULL);
}

// The members of a wish; ERR_INVALID for others, so that a misspelt one is noticed.
static int read_wish(const json_t *json, struct rebuild_wish *out, bool *now, struct error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)json, key, value)
    {
        bool text = strcmp(key, "model") == 0 || strcmp(key, "tenantId") == 0;
        bool flag = now && (strcmp(key, "now") == 0 || strcmp(key, "hold") == 0 || strcmp(key, "skipFailed") == 0);
        if (!text && !flag)
            return error_set(err, ERR_INVALID, "The member \"%.60s\" is not known", key);
        if (text && !json_is_string(value))
            return error_set(err, ERR_INVALID, "`%s` must be a string", key);
    }
    *out = (struct rebuild_wish){.model = js_str(json, "model", NULL), .tenant = js_str(json, "tenantId", NULL)};
    if (!now)
        return 0;
    return api_member_flag(json, "now", false, now, err) < 0 ||
                   api_member_flag(json, "hold", false, &out->hold, err) < 0 ||
                   api_member_flag(json, "skipFailed", false, &out->skip_failed, err) < 0
               ? -1
               : 0;
}

void api_admin_model_use(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    struct flow *flow = ((struct api *)ctx)->flow;
    struct error err = {0};
    struct rebuild_wish wish = {0};
    bool now;
    _cleanup_json_ json_t *json = NULL;
    int rc = api_body(req, &json, &err) < 0 || read_wish(json, &wish, &now, &err) < 0 ? -1 : 0;
    if (rc == 0 && !wish.model)
        rc = error_set(&err, ERR_INVALID, "The body must be {\"model\": \"...\"}, with \"tenantId\" for one tenant");
    if (rc == 0)
        rc = now ? flow_model_use(flow, wish.tenant, wish.model, &err) : rebuild_use(flow, &wish, &err);
    reply_models(req, flow, wish.tenant, rc, &err);
}

void api_admin_model_drop(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    struct error err = {0};
    size_t dropped = 0;
    int rc = flow_model_drop(((struct api *)ctx)->flow, api_given(req, "tenantId"), http_param(req, "model"), &dropped,
                             &err);
    api_reply(req, 200, rc, rc == 0 ? json_pack("{s:I}", "vectorsDropped", (json_int_t)dropped) : NULL, &err);
}

void api_admin_model_compare(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    struct error err = {0};
    const char *tenant, *from = api_given(req, "from"), *to = api_given(req, "to");
    int64_t samples;
    json_t *body = NULL;
    int rc = from && to ? 0 : error_set(&err, ERR_INVALID, "`from` and `to` name the models to compare");
    if (rc == 0)
        rc = api_tenant(req, NULL, &tenant, &err);
    if (rc == 0)
        rc = api_int(req, "samples", 1, COMPARE_SAMPLES_MAX, SAMPLES, &samples, &err);
    if (rc == 0)
        rc = rebuild_compare(((struct api *)ctx)->flow, tenant, from, to, (size_t)samples, &body, &err);
    api_reply(req, 200, rc, body, &err);
}

// --- Rebuilds

static void reply_rebuilds(struct http_request *req, struct flow *flow, const char *tenant, int status, int rc,
                           const struct error *why)
{
    json_t *list = NULL;
    struct error err = {0};
    if (rc < 0)
        err = *why;
    else
        rc = rebuild_list(flow, tenant, &list, &err);
    api_reply(req, status, rc, rc == 0 ? json_pack("{s:o}", "rebuilds", list) : NULL, &err);
}

void api_admin_rebuilds(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    reply_rebuilds(req, ((struct api *)ctx)->flow, api_given(req, "tenantId"), 200, 0, NULL);
}

void api_admin_reindex(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    struct flow *flow = ((struct api *)ctx)->flow;
    struct error err = {0};
    struct rebuild_wish wish = {0};
    _cleanup_json_ json_t *json = NULL;
    int rc = api_body(req, &json, &err) < 0 || read_wish(json, &wish, NULL, &err) < 0 ? -1 : 0;
    if (rc == 0)
        rc = rebuild_reindex(flow, &wish, &err);
    reply_rebuilds(req, flow, wish.tenant, 202, rc, &err);
}

void api_admin_rebuild_cancel(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    struct flow *flow = ((struct api *)ctx)->flow;
    const char *tenant = api_given(req, "tenantId");
    struct error err = {0};
    int rc = rebuild_cancel(flow, tenant, &err);
    reply_rebuilds(req, flow, tenant, 200, rc, &err);
}
