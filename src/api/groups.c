// SPDX-License-Identifier: Apache-2.0
// /api/v1/admin/groups and /lag: who reads what, and how far.
#include <string.h>

#include "api/api_int.h"
#include "base/clock.h"

void api_admin_groups(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    json_t *body = NULL;
    struct error err = {0};
    int rc = admin_groups(((struct api *)ctx)->flow, &body, &err);
    api_reply(req, 200, rc, body, &err);
}

void api_admin_group(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    json_t *body = NULL;
    struct error err = {0};
    int rc = admin_group(((struct api *)ctx)->flow, http_param(req, "group"), &body, &err);
    api_reply(req, 200, rc, body, &err);
}

void api_admin_lag(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    json_t *body = NULL;
    struct error err = {0};
    int rc = admin_lag(((struct api *)ctx)->flow, &body, &err);
    api_reply(req, 200, rc, body, &err);
}

void api_admin_group_delete(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    struct error err = {0};
    const char *group = http_param(req, "group");
    int rc = admin_group_delete(((struct api *)ctx)->flow, group, &err);
    api_reply(req, 200, rc, rc == 0 ? json_pack("{s:s,s:b}", "group", group, "deleted", 1) : NULL, &err);
}

// {"to": "earliest" | "latest" | "time" | "offset" | "shift", "value": …}
static int read_target(const json_t *json, struct group_reset *out, struct error *err)
{
    static const char *const names[] = {[RESET_EARLIEST] = "earliest",
                                        [RESET_LATEST] = "latest",
                                        [RESET_TIME] = "time",
                                        [RESET_OFFSET] = "offset",
                                        [RESET_SHIFT] = "shift"};
    const char *to = js_str(json, "to", "");
    size_t i = 0;
    while (i < ARRAY_LEN(names) && strcmp(names[i], to) != 0)
        i++;
    if (i == ARRAY_LEN(names))
        return error_set(err, ERR_INVALID, "`to` must be earliest, latest, time, offset or shift");
    out->to = i;
    if (out->to == RESET_TIME) {
        if (clock_parse(js_str(json, "value", ""), &out->value) < 0)
            return error_set(err, ERR_INVALID, "`value` must be a time such as 2026-11-22T10:30:00Z");
        return 0;
    }
    bool numbered = out->to == RESET_OFFSET || out->to == RESET_SHIFT;
    if (numbered && !json_is_integer(json_object_get(json, "value")))
        return error_set(err, ERR_INVALID, "`value` must be a whole number");
    return api_member_int(json, "value", 0, &out->value, err);
}

static int read_reset(const json_t *json, struct group_reset *out, struct error *err)
{
    int64_t partition;
    if (read_target(json, out, err) < 0 || api_member_int(json, "partition", -1, &partition, err) < 0 ||
        api_member_flag(json, "dryRun", true, &out->dry_run, err) < 0)
        return -1;
    if (partition < -1 || partition > 1023)
        return error_set(err, ERR_INVALID, "`partition` must be a whole number from 0 to 1023");
    out->partition = (int)partition;
    out->topic = js_str(json, "topic", NULL);
    return 0;
}

void api_admin_group_reset(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    _cleanup_json_ json_t *json = NULL;
    struct group_reset reset = {0};
    json_t *body = NULL;
    struct error err = {0};
    int rc = api_body(req, &json, &err);
    if (rc == 0)
        rc = read_reset(json, &reset, &err);
    if (rc == 0)
        rc = admin_group_reset(((struct api *)ctx)->flow, http_param(req, "group"), &reset, &body, &err);
    api_reply(req, 200, rc, body, &err);
}
