// SPDX-License-Identifier: Apache-2.0
// /api/v1/admin/deadletters: what failed for good.
#include "api/api_int.h"

enum { LETTERS_MOST = 1000 };

void api_admin_deadletters(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    int64_t limit;
    json_t *body = NULL;
    struct error err = {0};
    struct deadletter_query query = {.code = api_given(req, "code"),
                                     .stage = api_given(req, "stage"),
                                     .topic = api_given(req, "topic"),
                                     .tenant = api_given(req, "tenantId"),
                                     .cursor = api_given(req, "cursor")};
    int rc = api_int(req, "limit", 1, LETTERS_MOST, LETTERS_MOST, &limit, &err);
    query.limit = (size_t)limit;
    if (rc == 0)
        rc = api_time(req, "from", &query.from_ms, &err);
    if (rc == 0)
        rc = api_time(req, "to", &query.to_ms, &err);
    if (rc == 0)
        rc = admin_deadletters(((struct api *)ctx)->flow, &query, &body, &err);
    api_reply(req, 200, rc, body, &err);
}

void api_admin_deadletter(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    json_t *body = NULL;
    struct error err = {0};
    int rc = admin_deadletter(((struct api *)ctx)->flow, http_param(req, "id"), &body, &err);
    api_reply(req, 200, rc, body, &err);
}

void api_admin_replay(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    json_t *body = NULL;
    struct error err = {0};
    int rc = admin_deadletter_replay(((struct api *)ctx)->flow, http_param(req, "id"), &body, &err);
    api_reply(req, 202, rc, body, &err);
}

void api_admin_purge(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    int64_t before_ms = 0;
    bool dry_run;
    json_t *body = NULL;
    struct error err = {0};
    int rc = api_time(req, "before", &before_ms, &err);
    if (rc == 0)
        rc = api_flag(req, "dryRun", true, &dry_run, &err);
    if (rc == 0)
        rc = admin_deadletters_purge(((struct api *)ctx)->flow, before_ms, dry_run, &body, &err);
    api_reply(req, 200, rc, body, &err);
}
