// SPDX-License-Identifier: Apache-2.0
// POST /api/v1/images/delete, /api/v1/videos/delete: many at once, by a filter.
#include <string.h>

#include "api/api_int.h"
#include "base/clock.h"

static int read_time(const json_t *json, int64_t *out, struct error *err)
{
    const char *text;
    if (api_member_text(json, "uploadedBefore", &text, err) < 0)
        return -1;
    if (text && (clock_parse(text, out) < 0 || *out <= 0))
        return error_set(err, ERR_INVALID, "`uploadedBefore` must be a time such as 2026-11-22T10:30:00Z");
    return 0;
}

static int delete_many(struct http_request *req, struct flow *f, const json_t *json, json_t **out, struct error *err)
{
    const char *tenant;
    struct filter *filter = NULL;
    struct delete_query query = {.kind = strcmp(api_kind(req), "vid") == 0 ? "video" : "image"};
    if (!json_object_get(json, "filter"))
        return error_set(err, ERR_INVALID, "The body must be {\"filter\": {…}}, and may say \"dryRun\": true");
    if (api_member_text(json, "tenantId", &tenant, err) < 0 || api_tenant(req, tenant, &query.tenant, err) < 0 ||
        api_member_flag(json, "dryRun", false, &query.dry_run, err) < 0 ||
        api_member_text(json, "cursor", &query.cursor, err) < 0 || read_time(json, &query.to_ms, err) < 0 ||
        filter_parse(json_object_get(json, "filter"), &filter, err) < 0)
        return -1;
    query.filter = filter;
    int rc = items_delete(f, &query, out, err);
    filter_free(filter);
    return rc;
}

void api_items_delete(struct http_request *req, void *ctx, void *sink)
{
    static const char *const known[] = {"filter", "dryRun", "uploadedBefore", "cursor", "tenantId", NULL};
    _cleanup_json_ json_t *json = NULL;
    json_t *body = NULL;
    struct error err = {0};
    int rc = api_body_known(req, known, &json, &err);
    if (rc == 0)
        rc = delete_many(req, api_flow(ctx), json, &body, &err);
    api_reply(req, rc == 0 && js_bool(body, "dryRun", false) ? 200 : 202, rc, body, &err);
}
