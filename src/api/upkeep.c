// SPDX-License-Identifier: Apache-2.0
// /api/v1/admin/maintenance: tasks with their schedules, and runs of them.
#include "flow/upkeep.h"
#include "api/api_int.h"

enum { PAGE = 100, PAGE_MAX = 1000 };

void api_upkeep_tasks(struct http_request *req, void *ctx, void *sink)
{
    json_t *body = NULL;
    struct error err = {0};
    int rc = upkeep_tasks(api_flow(ctx), &body, &err);
    api_reply(req, 200, rc, body, &err);
}

void api_upkeep_set(struct http_request *req, void *ctx, void *sink)
{
    static const char *const known[] = {"schedule", "rate", "dryRun", NULL};
    _cleanup_json_ json_t *json = NULL;
    json_t *body = NULL;
    struct error err = {0};
    int rc = api_body_known(req, known, &json, &err);
    if (rc == 0) {
        const struct upkeep_change change = {json_object_get(json, "schedule"), json_object_get(json, "rate"),
                                             json_object_get(json, "dryRun")};
        rc = upkeep_set(api_flow(ctx), http_param(req, "task"), &change, &body, &err);
    }
    api_reply(req, 200, rc, body, &err);
}

static int begin(struct http_request *req, struct flow *f, json_t **out, struct error *err)
{
    static const char *const known[] = {"dryRun", "tenantId", "rate", "whole", NULL};
    _cleanup_json_ json_t *json = NULL;
    struct upkeep_wish wish = {0};
    bool dry_run;
    if (api_body_known(req, known, &json, err) < 0 || api_member_flag(json, "dryRun", true, &dry_run, err) < 0 ||
        api_member_text(json, "tenantId", &wish.tenant, err) < 0 ||
        api_member_int(json, "rate", -1, &wish.rate, err) < 0 ||
        api_member_flag(json, "whole", false, &wish.whole, err) < 0)
        return -1;
    if (json_object_get(json, "rate") && (wish.rate < 0 || wish.rate > UPKEEP_RATE_MAX))
        return error_set(err, ERR_INVALID, "`rate` must be a whole number from 0 to %d", UPKEEP_RATE_MAX);
    if (json_object_get(json, "dryRun"))
        wish.dry_run = &dry_run;
    return upkeep_begin(f, http_param(req, "task"), &wish, out, err);
}

void api_upkeep_begin(struct http_request *req, void *ctx, void *sink)
{
    json_t *body = NULL;
    struct error err = {0};
    int rc = begin(req, api_flow(ctx), &body, &err);
    api_reply(req, 202, rc, body, &err);
}

void api_upkeep_runs(struct http_request *req, void *ctx, void *sink)
{
    int64_t limit;
    json_t *body = NULL;
    struct error err = {0};
    int rc = api_int(req, "limit", 1, PAGE_MAX, PAGE, &limit, &err);
    if (rc == 0)
        rc = upkeep_runs(api_flow(ctx), api_given(req, "task"), api_given(req, "cursor"), (size_t)limit, &body, &err);
    api_reply(req, 200, rc, body, &err);
}

void api_upkeep_get(struct http_request *req, void *ctx, void *sink)
{
    json_t *body = NULL;
    struct error err = {0};
    int rc = upkeep_get(api_flow(ctx), http_param(req, "run"), &body, &err);
    api_reply(req, 200, rc, body, &err);
}

static void steer(struct http_request *req, struct flow *f, enum upkeep_steer how)
{
    json_t *body = NULL;
    struct error err = {0};
    int rc = upkeep_steer(f, http_param(req, "run"), how, &body, &err);
    api_reply(req, 200, rc, body, &err);
}

void api_upkeep_pause(struct http_request *req, void *ctx, void *sink)
{
    steer(req, api_flow(ctx), UPKEEP_PAUSE);
}

void api_upkeep_resume(struct http_request *req, void *ctx, void *sink)
{
    steer(req, api_flow(ctx), UPKEEP_RESUME);
}

void api_upkeep_cancel(struct http_request *req, void *ctx, void *sink)
{
    steer(req, api_flow(ctx), UPKEEP_CANCEL);
}
