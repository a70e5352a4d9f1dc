// SPDX-License-Identifier: Apache-2.0
// /api/v1/admin/alerts: what somebody was told of, a test of the ways, and silences.
#include "flow/alerts.h"
#include "api/api_int.h"

void api_alerts(struct http_request *req, void *ctx, void *sink)
{
    json_t *body = NULL;
    struct error err = {0};
    int rc = flow_alerts_list(api_flow(ctx), &body, &err);
    api_reply(req, 200, rc, body, &err);
}

void api_alerts_test(struct http_request *req, void *ctx, void *sink)
{
    json_t *body = NULL;
    struct error err = {0};
    int rc = flow_alerts_test(api_flow(ctx), &body, &err);
    api_reply(req, 200, rc, body, &err);
}

void api_alerts_silence(struct http_request *req, void *ctx, void *sink)
{
    static const char *const known[] = {"alert", "subject", "comment", "durationMs", NULL};
    struct silence_wish wish = {0};
    _cleanup_json_ json_t *json = NULL;
    json_t *body = NULL;
    struct error err = {0};
    int rc = api_body_known(req, known, &json, &err);
    if (rc == 0 && (api_member_text(json, "alert", &wish.alert, &err) < 0 ||
                    api_member_text(json, "subject", &wish.subject, &err) < 0 ||
                    api_member_text(json, "comment", &wish.comment, &err) < 0 ||
                    api_member_int(json, "durationMs", 0, &wish.duration_ms, &err) < 0))
        rc = -1;
    if (rc == 0)
        rc = flow_alerts_silence(api_flow(ctx), &wish, &body, &err);
    api_reply(req, 201, rc, body, &err);
}

void api_alerts_unsilence(struct http_request *req, void *ctx, void *sink)
{
    struct error err = {0};
    if (flow_alerts_unsilence(api_flow(ctx), http_param(req, "id"), &err) == 0)
        http_reply_empty(req, 204);
    else
        http_reply_error(req, &err);
}
