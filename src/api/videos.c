// SPDX-License-Identifier: Apache-2.0
// /api/v1/videos/{id}/…: the frames that were chosen, by their times; what is made of a video for those who look at it.
// All else about videos is as about images (images.c).
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_int.h"
#include "flow/derived.h"

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

// --- Poster, preview, sheet and its map

static int of_video(struct http_request *req, const char **tenant, const char **id, struct error *err)
{
    return api_tenant(req, NULL, tenant, err) < 0 ? -1 : api_id(req, id, err);
}

static void send_derived(struct http_request *req, struct api *api, enum derived what, const char *mark)
{
    struct arena *arena = http_arena(req);
    struct error err = {0};
    struct media video;
    struct blob_reader *reader;
    const char *tenant, *id;
    if (of_video(req, &tenant, &id, &err) < 0 ||
        derived_open(api->flow, arena, tenant, id, what, &video, &reader, &err) < 0) {
        http_reply_error(req, &err);
        return;
    }
    const struct http_content content = {.content_type = "image/webp",
                                         .etag = arena_printf(arena, "%.32s-%s", video.hash, mark)};
    if (api_send_blob(req, api, reader, content, &err) < 0)
        http_reply_error(req, &err);
}

void api_video_poster(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    send_derived(req, ctx, DERIVED_POSTER, "p");
}

void api_video_preview(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    send_derived(req, ctx, DERIVED_PREVIEW, "m");
}

void api_video_sprite(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    send_derived(req, ctx, DERIVED_SPRITE, "s");
}

// A player that reads the map asks for the sheet without our headers: whose it is stands in its address.
void api_video_sprite_map(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    struct error err = {0};
    const char *tenant, *id;
    _cleanup_buf_ struct buf text = BUF_INIT(65536);
    if (of_video(req, &tenant, &id, &err) < 0 ||
        derived_map(api_flow(ctx), http_arena(req), tenant, id,
                    arena_printf(http_arena(req), "/api/v1/videos/%s/sprite?tenantId=%s", id, tenant), &text,
                    &err) < 0) {
        http_reply_error(req, &err);
        return;
    }
    http_set_header(req, "Cache-Control", "private, max-age=31536000, immutable");
    http_reply_text(req, 200, "text/vtt; charset=utf-8", text.data);
}

// --- A picture at any time

static int read_seconds(struct http_request *req, int64_t *out, struct error *err)
{
    const char *text = http_query(req, "time");
    char *end;
    double seconds = strtod(text, &end);
    if (*end || !isfinite(seconds) || seconds < 0 || seconds * 1000 > (double)VIDEO_MS_MAX)
        return error_set(err, ERR_INVALID, "`time` must be a number of seconds, such as 12.5");
    *out = llround(seconds * 1000);
    return 0;
}

static int glimpse(struct http_request *req, struct api *api, struct buf *out, struct error *err)
{
    const char *tenant, *id;
    int64_t ms = 0, edge;
    if (of_video(req, &tenant, &id, err) < 0 || read_seconds(req, &ms, err) < 0 ||
        api_int(req, "size", GLIMPSE_EDGE_MIN, VIDEO_FRAME_EDGE_MAX, api->flow->settings.thumbnail_edge, &edge, err) <
            0)
        return -1;
    return derived_glimpse(api->flow, http_arena(req), tenant, id, ms, (int)edge, out, err);
}

void api_video_thumbnail(struct http_request *req, void *ctx, void *sink)
{
    struct error err = {0};
    if (!api_given(req, "time")) {
        api_image_thumbnail(req, ctx, sink);
        return;
    }
    _cleanup_buf_ struct buf webp = BUF_INIT(16 << 20);
    if (glimpse(req, ctx, &webp, &err) < 0) {
        http_reply_error(req, &err);
        return;
    }
    size_t len = webp.len;
    http_set_header(req, "Cache-Control", "private, max-age=31536000, immutable");
    http_reply_bytes(req, 200, "image/webp", buf_steal(&webp), len);
}
