// SPDX-License-Identifier: Apache-2.0
// /api/v1/videos/{id}/frames: the frames that were chosen, by their times. All else about videos is as about images
// (images.c).
#include <stdio.h>
#include <string.h>

#include "api/api_int.h"

enum { FRAMES_MAX = 1000, FRAMES_DEFAULT = 100 };

static int list(struct http_request *req, struct api *api, json_t **out, struct error *err)
{
    const char *tenant, *id, *cursor = http_query(req, "cursor");
    int64_t limit;
    long long after = -1;
    int used = 0;
    struct media *rows;
    size_t count;
    if (api_tenant(req, NULL, &tenant, err) < 0 || api_id(req, &id, err) < 0 ||
        api_int(req, "limit", 1, FRAMES_MAX, FRAMES_DEFAULT, &limit, err) < 0)
        return -1;
    if (cursor && *cursor && (sscanf(cursor, "t%lld%n", &after, &used) != 1 || cursor[used] || after < 0))
        return error_set(err, ERR_INVALID_CURSOR, "The cursor is not one that DeepLens gave");
    if (item_frames(api->flow, http_arena(req), tenant, id, after, (size_t)limit + 1, &rows, &count, err) < 0)
        return -1;
    json_t *items = json_array();
    for (size_t i = 0; i < count && i < (size_t)limit; i++)
        json_array_append_new(items, api_media_json(&rows[i]));
    json_t *next = count > (size_t)limit ? json_sprintf("t%lld", (long long)rows[limit - 1].time_ms) : json_null();
    *out = json_pack("{s:o,s:o}", "items", items, "nextCursor", next);
    return 0;
}

void api_video_frames(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    struct error err = {0};
    json_t *body = NULL;
    int rc = list(req, ctx, &body, &err);
    api_reply(req, 200, rc, body, &err);
}
