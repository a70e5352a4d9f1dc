// SPDX-License-Identifier: Apache-2.0
// /api/v1/admin/jobs: the steps as queues, and what failed there.
#include "api/api_int.h"
#include "base/clock.h"

enum { LETTERS = 100, LETTERS_MOST = 1000 };

void api_jobs(struct http_request *req, void *ctx, void *sink)
{
    struct api *api = ctx;
    json_t *body = NULL;
    struct error err = {0};
    int rc = admin_jobs(api->flow, api->runner, &body, &err);
    api_reply(req, 200, rc, body, &err);
}

static int alter(struct http_request *req, struct api *api, json_t **out, struct error *err)
{
    static const char *const known[] = {"concurrency", "paused", NULL};
    _cleanup_json_ json_t *json = NULL;
    if (api_body_known(req, known, &json, err) < 0)
        return -1;
    if (!json_object_size(json))
        return error_set(err, ERR_INVALID, "What is to be changed? There are `concurrency` and `paused`");
    const json_t *concurrency = json_object_get(json, "concurrency");
    int64_t limit = ADMIN_KEEP;
    bool paused;
    if (json_is_null(concurrency))
        limit = RUNNER_NO_LIMIT;
    else if (concurrency && api_member_int(json, "concurrency", 0, &limit, err) < 0)
        return -1;
    else if (concurrency && limit < 1)
        return error_set(err, ERR_INVALID, "`concurrency` is at least 1; null: no limit of its own");
    if (api_member_flag(json, "paused", false, &paused, err) < 0)
        return -1;
    return admin_job_alter(api->runner, http_param(req, "step"), limit,
                           json_object_get(json, "paused") ? &paused : NULL, out, err);
}

void api_job_alter(struct http_request *req, void *ctx, void *sink)
{
    json_t *body = NULL;
    struct error err = {0};
    int rc = alter(req, ctx, &body, &err);
    api_reply(req, 200, rc, body, &err);
}

void api_job_failed(struct http_request *req, void *ctx, void *sink)
{
    int64_t limit;
    json_t *body = NULL;
    struct error err = {0};
    int rc = api_int(req, "limit", 1, LETTERS_MOST, LETTERS, &limit, &err);
    if (rc == 0)
        rc = admin_job_failed(api_flow(ctx), http_param(req, "step"), api_given(req, "cursor"), (size_t)limit, &body,
                              &err);
    api_reply(req, 200, rc, body, &err);
}

// {"ids": ["0-12", …]}, or {"all": true}: a page of them, from the cursor on.
static int retry(struct http_request *req, struct flow *f, json_t **out, struct error *err)
{
    static const char *const known[] = {"ids", "all", "cursor", "limit", "failedBefore", NULL};
    _cleanup_json_ json_t *json = NULL;
    const char *before;
    struct job_page page = {0};
    int64_t limit;
    bool all;
    size_t i;
    json_t *id;
    if (api_body_known(req, known, &json, err) < 0 || api_member_flag(json, "all", false, &all, err) < 0 ||
        api_member_text(json, "cursor", &page.cursor, err) < 0 ||
        api_member_text(json, "failedBefore", &before, err) < 0 ||
        api_member_int(json, "limit", LETTERS, &limit, err) < 0)
        return -1;
    const json_t *ids = json_object_get(json, "ids");
    if (all == (ids != NULL) || (ids && !json_is_array(ids)) || json_array_size(ids) > LETTERS_MOST)
        return error_set(err, ERR_INVALID, "The body must be {\"ids\": [\"0-12\", …]}, %d at most, or {\"all\": true}",
                         LETTERS_MOST);
    json_array_foreach((json_t *)ids, i, id)
    {
        if (!json_is_string(id))
            return error_set(err, ERR_INVALID, "The ids must be strings");
    }
    if (limit < 1 || limit > LETTERS_MOST)
        return error_set(err, ERR_INVALID, "`limit` must be a whole number from 1 to %d", LETTERS_MOST);
    if (before && (clock_parse(before, &page.to_ms) < 0 || page.to_ms <= 0))
        return error_set(err, ERR_INVALID, "`failedBefore` must be a time such as 2026-11-22T10:30:00Z");
    page.limit = (size_t)limit;
    return admin_job_retry(f, http_param(req, "step"), ids, &page, out, err);
}

void api_job_retry(struct http_request *req, void *ctx, void *sink)
{
    json_t *body = NULL;
    struct error err = {0};
    int rc = retry(req, api_flow(ctx), &body, &err);
    api_reply(req, 200, rc, body, &err);
}
