// SPDX-License-Identifier: Apache-2.0
// /api/v1/duplicates: groups of near-duplicates, the newest first; or the group of one item.
#include <stdio.h>
#include <string.h>

#include "api/api_int.h"
#include "flow/near.h"

enum { GROUPS_MAX = 1000, GROUPS_DEFAULT = 50, MEMBERS_MAX = 1000, MEMBERS_DEFAULT = 20 };

static json_t *group_json(const struct near_group *group)
{
    json_t *items = json_array();
    for (size_t i = 0; i < group->shown; i++) {
        const struct meta_alike_item *item = &group->items[i];
        json_t *json = api_media_json(&item->media);
        if (item->nearest) {
            js_set_str(json, "nearest", item->nearest);
            json_object_set_new(json, "score", json_real(item->score));
        }
        json_array_append_new(items, json);
    }
    return json_pack("{s:I,s:I,s:o}", "group", (json_int_t)group->group, "count", (json_int_t)group->count, "items",
                     items);
}

static int read_query(struct http_request *req, struct near_query *out, struct error *err)
{
    const char *cursor = api_given(req, "cursor");
    int64_t limit, members;
    long long before = 0;
    int used = 0;
    if (api_tenant(req, NULL, &out->tenant, err) < 0 ||
        api_int(req, "limit", 1, GROUPS_MAX, GROUPS_DEFAULT, &limit, err) < 0 ||
        api_int(req, "members", 1, MEMBERS_MAX, MEMBERS_DEFAULT, &members, err) < 0)
        return -1;
    if (cursor && (sscanf(cursor, "g%lld%n", &before, &used) != 1 || cursor[used] || before < 1))
        return error_set(err, ERR_INVALID_CURSOR, "The cursor is not one that DeepLens gave");
    out->model = api_given(req, "model");
    out->id = api_given(req, "imageId");
    if (!out->id)
        out->id = api_given(req, "videoId");
    out->before = before;
    out->limit = (size_t)limit;
    out->members = (size_t)members;
    return 0;
}

static int list(struct http_request *req, struct api *api, json_t **out, struct error *err)
{
    struct near_query query = {0};
    struct near_groups found;
    if (read_query(req, &query, err) < 0 || near_groups(api->flow, &query, http_arena(req), &found, err) < 0)
        return -1;
    json_t *groups = json_array();
    for (size_t i = 0; i < found.count; i++)
        json_array_append_new(groups, group_json(&found.at[i]));
    *out = json_pack("{s:s,s:f,s:o,s:o}", "model", found.model, "score", found.score, "groups", groups, "nextCursor",
                     found.next ? json_sprintf("g%lld", (long long)found.next) : json_null());
    return 0;
}

void api_duplicates(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    struct error err = {0};
    json_t *body = NULL;
    int rc = list(req, ctx, &body, &err);
    api_reply(req, 200, rc, body, &err);
}
