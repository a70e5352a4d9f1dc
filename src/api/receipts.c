// SPDX-License-Identifier: Apache-2.0
// /api/v1/receipts: what was deleted, signed; and the key that verifies it.
#include "api/api_int.h"
#include "flow/receipt.h"

enum { PAGE = 100, PAGE_MAX = 1000 };

void api_receipts(struct http_request *req, void *ctx, void *sink)
{
    int64_t limit;
    const char *tenant;
    json_t *body = NULL;
    struct error err = {0};
    int rc = api_tenant(req, NULL, &tenant, &err);
    if (rc == 0)
        rc = api_int(req, "limit", 1, PAGE_MAX, PAGE, &limit, &err);
    if (rc == 0)
        rc = receipt_list(api_flow(ctx), tenant, api_given(req, "itemId"), api_given(req, "cursor"), (size_t)limit,
                          &body, &err);
    api_reply(req, 200, rc, body, &err);
}

void api_receipt(struct http_request *req, void *ctx, void *sink)
{
    const char *tenant;
    json_t *body = NULL;
    struct error err = {0};
    int rc = api_tenant(req, NULL, &tenant, &err);
    if (rc == 0)
        rc = receipt_get(api_flow(ctx), tenant, http_param(req, "id"), &body, &err);
    api_reply(req, 200, rc, body, &err);
}

void api_receipt_key(struct http_request *req, void *ctx, void *sink)
{
    json_t *body = NULL;
    struct error err = {0};
    int rc = receipt_public_key(api_flow(ctx), &body, &err);
    api_reply(req, 200, rc, body, &err);
}
