// SPDX-License-Identifier: Apache-2.0
// /api/v1/images and /api/v1/videos: upload, list, item, status, original, thumbnail, delete. Frames of videos are
// images here, but in no list; ids below /images may be anybody's.
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_int.h"
#include "base/clock.h"
#include "flow/frame.h"
#include "media/motion.h"
#include "obs/metrics.h"

enum { LIST_MAX = 1000, LIST_DEFAULT = 50, PRESIGNED_S = 900 };

// --- Upload

struct upload_sink {
    struct api *api;
    struct upload *upload; // NULL until the file's first byte
    uint64_t expected;
    uint64_t received; // bytes of the file
    bool has_file;
    char file_name[4096 + 1];
    struct form form;
};

static const char *const upload_fields[] = {"tenantId", "fileName",          "uploadedBy", "metadata",
                                            "tags",     "processingOptions", NULL};

static void upload_sink_free(void *arg)
{
    struct upload_sink *sink = arg;
    upload_abort(sink->upload);
    form_free(&sink->form);
    free(sink);
}

static int begin_sink(struct http_request *req, void *ctx, bool video, void **out, struct error *err)
{
    struct api *api = ctx;
    uint64_t length = http_content_length(req);
    struct upload_sink *sink = calloc(1, sizeof *sink);
    if (!sink)
        return error_set(err, ERR_NO_MEMORY, "No memory for an upload");
    sink->api = api;
    sink->expected = length == UINT64_MAX ? 0 : length;
    form_init(&sink->form, upload_fields);
    // Opened here, so that a full disk or a body that cannot fit is refused before the body is sent.
    int rc = video ? upload_begin_video(api->flow, sink->expected, &sink->upload, err)
                   : upload_begin(api->flow, sink->expected, &sink->upload, err);
    if (rc < 0) {
        metric_add(M_UPLOADS_REFUSED, err ? error_code_name(err->code) : NULL, 1);
        upload_sink_free(sink);
        return -1;
    }
    *out = sink;
    return 0;
}

static int upload_sink_begin(struct http_request *req, void *ctx, void **out, struct error *err)
{
    return begin_sink(req, ctx, false, out, err);
}

static int video_sink_begin(struct http_request *req, void *ctx, void **out, struct error *err)
{
    return begin_sink(req, ctx, true, out, err);
}

static int upload_sink_data(void *arg, const char *field, const char *file_name, const char *content_type,
                            const char *data, uint64_t offset, size_t len, struct error *err)
{
    (void)content_type; // what it is, its bytes say
    struct upload_sink *sink = arg;
    if (field && strcmp(field, "file") != 0)
        return form_data(&sink->form, field, data, offset, len, err);
    if (offset == 0 && field && sink->has_file)
        return error_set(err, ERR_INVALID, "One file an upload: the form holds two");
    if (offset == 0)
        sink->has_file = true;
    if (offset == 0 && file_name)
        snprintf(sink->file_name, sizeof sink->file_name, "%s", file_name);
    sink->received += len;
    return len ? upload_write(sink->upload, data, len, err) : 0;
}

const struct http_sink_ops api_upload_sink = {
    .begin = upload_sink_begin, .data = upload_sink_data, .abort = upload_sink_free};
const struct http_sink_ops api_video_sink = {
    .begin = video_sink_begin, .data = upload_sink_data, .abort = upload_sink_free};

static int finish_upload(struct http_request *req, struct upload_sink *sink, struct upload_result *out,
                         struct error *err)
{
    struct form *form = &sink->form;
    const char *named = form_get(form, req, "fileName");
    struct upload_fields fields = {
        .file_name = named ? named : sink->file_name,
        .uploaded_by = form_get(form, req, "uploadedBy"),
        .metadata = form_get(form, req, "metadata"),
        .tags = form_get(form, req, "tags"),
        .options = form_get(form, req, "processingOptions"),
    };
    if (api_tenant(req, form_get(form, req, "tenantId"), &fields.tenant, err) < 0)
        return -1;
    if (!sink->has_file)
        return error_set(err, ERR_INVALID,
                         "The upload holds no file: send it as the form's field `file`, or as the body");
    return upload_finish(take_ptr(sink->upload), &fields, http_arena(req), out, err);
}

static json_t *upload_json(const struct upload_result *result)
{
    static const char *const messages[2][2] = {
        {"Image uploaded successfully. Processing started.", "The same image is there already."},
        {"Video uploaded successfully. Processing started.", "The same video is there already."}};
    bool video = strncmp(result->id, "vid_", 4) == 0;
    json_t *body = json_pack(
        "{s:s,s:s,s:s,s:s,s:b}", video ? "videoId" : "imageId", result->id, "status", media_status_name(result->status),
        "message", messages[video][result->duplicate], "estimatedProcessingTime",
        result->status == MEDIA_COMPLETED ? "0 seconds" : result->estimate, "duplicate", result->duplicate);
    json_object_set_new(body, "statusCheckUrl",
                        json_sprintf("/api/v1/%s/%s/status", video ? "videos" : "images", result->id));
    return body;
}

void api_upload(struct http_request *req, void *ctx, void *arg)
{
    (void)ctx;
    struct upload_sink *sink = arg;
    struct upload_result result = {0};
    struct error err = {0};
    if (finish_upload(req, sink, &result, &err) < 0) {
        metric_add(M_UPLOADS_REFUSED, error_code_name(err.code), 1);
        http_reply_error(req, &err);
    } else {
        metric_add(result.duplicate ? M_UPLOADS_DUPLICATE : M_UPLOADS_ACCEPTED, NULL, 1);
        metric_add(M_UPLOAD_BYTES, NULL, result.duplicate ? 0 : (int64_t)sink->received);
        http_reply_json(req, result.duplicate ? 200 : 202, upload_json(&result));
    }
    upload_sink_free(sink);
}

// --- One item

static int get_item(struct http_request *req, struct api *api, struct item *out, struct error *err)
{
    const char *tenant, *id;
    if (api_tenant(req, NULL, &tenant, err) < 0 || api_id(req, &id, err) < 0)
        return -1;
    return item_get(api->flow, http_arena(req), tenant, id, out, err);
}

void api_image_get(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    struct item item;
    struct error err = {0};
    if (get_item(req, ctx, &item, &err) < 0)
        http_reply_error(req, &err);
    else
        http_reply_json(req, 200, api_media_json(&item.media));
}

// How many frames there are of each kind, and how far into the video they reach.
static int api_set_frames(struct api *api, const struct media *video, json_t *body, struct error *err)
{
    struct meta_frames frames;
    if (item_frame_count(api->flow, video, &frames, err) < 0)
        return -1;
    _cleanup_json_ json_t *progress = video->progress ? js_parse(video->progress, strlen(video->progress), NULL) : NULL;
    _cleanup_json_ json_t *known = video->video ? js_parse(video->video, strlen(video->video), NULL) : NULL;
    double at = (double)json_integer_value(json_object_get(progress, "atMs")) / 1000;
    double duration = json_number_value(json_object_get(known, "duration"));
    bool done = js_bool(progress, "done", false);
    json_object_set_new(
        body, "frames",
        json_pack("{s:I,s:I,s:I,s:I}", "found",
                  (json_int_t)frames.waiting + (json_int_t)frames.searchable + (json_int_t)frames.failed, "waiting",
                  (json_int_t)frames.waiting, "searchable", (json_int_t)frames.searchable, "failed",
                  (json_int_t)frames.failed));
    json_object_set_new(
        body, "progress",
        json_pack("{s:f,s:f,s:b}", "position", done ? duration : at, "duration", duration, "allFound", done));
    return 0;
}

static double time_remaining(struct flow *f, const struct item *item)
{
    double usual = item_time_remaining(f, &item->media);
    double frames = strcmp(item->media.kind, "video") == 0 ? video_time_remaining(item, clock_now_ms()) : -1;
    return frames > usual ? frames : usual;
}

static json_t *step_json(const struct media_step *step)
{
    json_t *json = json_pack("{s:s,s:s,s:i}", "step", step->step, "status", step->status, "attempt", step->attempt);
    if (strcmp(step->status, "running") != 0)
        json_object_set_new(json, "duration", json_integer(step->duration_ms));
    if (*step->model)
        js_set_str(json, "modelName", step->model);
    js_set_str(json, "collectionName", step->collection);
    js_set_str(json, "error", step->error_message);
    js_set_time(json, "startedAt", step->started_ms);
    return json;
}

void api_image_status(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    struct api *api = ctx;
    struct item item;
    struct error err = {0};
    if (get_item(req, api, &item, &err) < 0) {
        http_reply_error(req, &err);
        return;
    }
    const struct media *m = &item.media;
    json_t *list = json_array();
    for (size_t i = 0; i < item.step_count; i++)
        json_array_append_new(list, step_json(&item.steps[i]));
    bool waiting = m->status == MEDIA_UPLOADED || m->status == MEDIA_PROCESSING;
    bool video = strcmp(m->kind, "video") == 0;
    json_t *body = json_pack("{s:s,s:s,s:o,s:o,s:n}", video ? "videoId" : "imageId", m->id, "status",
                             media_status_name(m->status), "processingSteps", list, "estimatedTimeRemaining",
                             waiting ? json_real(time_remaining(api->flow, &item)) : json_null(), "searchableAfter");
    js_set_time(body, "searchableAfter", m->completed_ms);
    js_set_time(body, "uploadedAt", m->uploaded_ms);
    js_set_time(body, "lastUpdated", m->updated_ms);
    api_set_duplicate(body, m);
    if (m->error_code)
        json_object_set_new(body, "error", json_pack("{s:s,s:s?}", "code", m->error_code, "message", m->error_message));
    if (video && api_set_frames(api, m, body, &err) < 0) {
        json_decref(body);
        http_reply_error(req, &err);
        return;
    }
    http_reply_json(req, 200, body);
}

void api_image_delete(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    struct api *api = ctx;
    const char *tenant, *given;
    char id[ID_MAX];
    struct error err = {0};
    if (api_tenant(req, NULL, &tenant, &err) < 0 || api_id(req, &given, &err) < 0 ||
        item_delete(api->flow, tenant, given, id, &err) < 0) {
        http_reply_error(req, &err);
        return;
    }
    bool video = strncmp(id, "vid_", 4) == 0;
    http_reply_json(req, 202,
                    json_pack("{s:s,s:s,s:s}", video ? "videoId" : "imageId", id, "status", "deleting", "message",
                              video ? "The video is no longer visible; its files, frames and vectors are being removed."
                                    : "The image is no longer visible; its files and vectors are being removed."));
}

// --- Files

struct file { // a blob being sent
    const struct blob_ops *ops;
    struct blob_reader *reader;
    uint64_t from; // of the blob
};

static int file_read(void *arg, uint64_t offset, void *buf, size_t len)
{
    struct file *file = arg;
    return file->ops->read(file->reader, file->from + offset, buf, len, NULL);
}

static void file_close(void *arg)
{
    struct file *file = arg;
    file->ops->reader_close(file->reader);
    free(file);
}

// RFC 6266: an ASCII name for old clients, the real one percent-encoded.
static const char *disposition(struct arena *arena, const char *name)
{
    struct buf out = BUF_INIT(8192);
    buf_puts(&out, "attachment; filename=\"");
    for (const char *p = name; *p; p++)
        buf_append(&out, (unsigned char)*p < 0x80 && *p != '"' && *p != '\\' && *p != '%' ? p : "_", 1);
    buf_puts(&out, "\"; filename*=UTF-8''");
    for (const char *p = name; *p; p++)
        if (isalnum((unsigned char)*p) || strchr("-._~", *p))
            buf_append(&out, p, 1);
        else
            buf_printf(&out, "%%%02X", (unsigned char)*p);
    const char *text = arena_strdup(arena, out.failed ? "attachment" : out.data);
    buf_free(&out);
    return text;
}

int api_send_blob(struct http_request *req, struct api *api, struct blob_reader *reader, struct http_content content,
                  struct error *err)
{
    struct file *file = calloc(1, sizeof *file);
    if (!file) {
        api->flow->blob.ops->reader_close(reader);
        return error_set(err, ERR_NO_MEMORY, "No memory for a file");
    }
    *file = (struct file){api->flow->blob.ops, reader, 0};
    content.size = file->ops->reader_size(reader);
    content.fd = file->ops->reader_fd(reader);
    content.read = file_read;
    content.close = file_close;
    content.arg = file;
    content.cache_control = "private, max-age=31536000, immutable";
    http_reply_content(req, &content);
    return 0;
}

static int find_motion(const struct media *media, uint64_t size, struct motion *out, struct error *err)
{
    _cleanup_json_ json_t *known = media->video ? js_parse(media->video, strlen(media->video), NULL) : NULL;
    const json_t *motion = js_obj(known, "motion");
    int64_t at = js_int(motion, "offset", 0), len = js_int(motion, "size", 0);
    if (at <= 0 || len <= 0 || (uint64_t)at > size || (uint64_t)len > size - (uint64_t)at)
        return error_set(err, ERR_NOT_FOUND, "There is no video in this picture");
    *out = (struct motion){(size_t)at, (size_t)len};
    return 0;
}

static int send_motion(struct http_request *req, struct api *api, struct error *err)
{
    struct media media;
    struct motion motion = {0};
    struct blob_reader *reader;
    const char *tenant, *id;
    const struct blob_ops *ops = api->flow->blob.ops;
    if (api_tenant(req, NULL, &tenant, err) < 0 || api_id(req, &id, err) < 0 ||
        item_open(api->flow, http_arena(req), tenant, id, false, &media, &reader, err) < 0)
        return -1;
    struct file *file = calloc(1, sizeof *file);
    int rc = file ? find_motion(&media, ops->reader_size(reader), &motion, err)
                  : error_set(err, ERR_NO_MEMORY, "No memory for a file");
    if (rc < 0) {
        ops->reader_close(reader);
        free(file);
        return -1;
    }
    *file = (struct file){ops, reader, motion.at};
    const struct http_content content = {.size = motion.len,
                                         .fd = -1,
                                         .read = file_read,
                                         .close = file_close,
                                         .arg = file,
                                         .content_type = "video/mp4",
                                         .etag = arena_printf(http_arena(req), "%.32s-v", media.hash),
                                         .cache_control = "private, max-age=31536000, immutable"};
    http_set_header(req, "Content-Security-Policy", "sandbox; default-src 'none'");
    http_reply_content(req, &content);
    return 0;
}

void api_image_motion(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    struct error err = {0};
    if (send_motion(req, ctx, &err) < 0)
        http_reply_error(req, &err);
}

static void send_file(struct http_request *req, struct api *api, bool thumbnail)
{
    struct media media;
    struct error err = {0};
    const char *tenant, *id;
    struct blob_reader *reader;
    struct arena *arena = http_arena(req);
    if (api_tenant(req, NULL, &tenant, &err) < 0 || api_id(req, &id, &err) < 0 ||
        item_open(api->flow, arena, tenant, id, thumbnail, &media, &reader, &err) < 0) {
        http_reply_error(req, &err);
        return;
    }
    struct http_content content = {
        .content_type = thumbnail ? "image/webp" : media.content_type,
        .etag = thumbnail ? arena_printf(arena, "%.32s-t", media.hash) : media.hash,
        .disposition = thumbnail ? NULL : disposition(arena, media.file_name),
    };
    if (!thumbnail) // an original is shown by nobody: its bytes are the uploader's
        http_set_header(req, "Content-Security-Policy", "sandbox; default-src 'none'");
    if (api_send_blob(req, api, reader, content, &err) < 0)
        http_reply_error(req, &err);
}

// To where the store itself gives the bytes for a while, so that they do not go through here.
static int send_elsewhere(struct http_request *req, struct api *api, struct error *err)
{
    const char *tenant, *id;
    struct item item;
    struct arena *arena = http_arena(req);
    int64_t expires;
    if (api_tenant(req, NULL, &tenant, err) < 0 || api_id(req, &id, err) < 0 ||
        api_int(req, "expiresIn", 1, BLOB_PRESIGN_MAX_S, PRESIGNED_S, &expires, err) < 0 ||
        item_get(api->flow, arena, tenant, id, &item, err) < 0)
        return -1;
    const struct blob *blob = &api->flow->blob;
    const struct blob_presign what = {.now_ms = clock_now_ms(),
                                      .expires_s = (int)expires,
                                      .content_type = item.media.content_type,
                                      .disposition = disposition(arena, item.media.file_name)};
    _cleanup_free_ char *url = blob->ops->presign(blob->state, item.media.blob_key, &what);
    if (!url)
        return error_set(err, ERR_NO_MEMORY, "No memory for an address");
    http_set_header(req, "Location", url);
    http_set_header(req, "Cache-Control", "private, no-store");
    http_reply_empty(req, 307);
    return 0;
}

void api_image_original(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    struct api *api = ctx;
    struct error err = {0};
    bool elsewhere;
    if (api_flag(req, "redirect", false, &elsewhere, &err) < 0 ||
        (elsewhere && api->flow->blob.ops->presign && send_elsewhere(req, api, &err) < 0))
        http_reply_error(req, &err);
    else if (!elsewhere || !api->flow->blob.ops->presign)
        send_file(req, api, false);
}

void api_image_thumbnail(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    send_file(req, ctx, true);
}

// --- List

static int read_cursor(const char *text, const char *kind, struct media_query *query, struct arena *arena,
                       struct error *err)
{
    long long ms;
    char id[ID_MAX];
    int used = 0;
    if (!text || !*text)
        return 0;
    if (sscanf(text, "%lld.%n", &ms, &used) != 1 || !used || id_parse(kind, text + used, id) < 0)
        return error_set(err, ERR_INVALID_CURSOR, "The cursor is not one that DeepLens gave");
    query->before_ms = ms;
    query->before_id = arena_strdup(arena, id);
    return 0;
}

static int read_time(struct http_request *req, const char *name, int64_t *out, struct error *err)
{
    const char *text = http_query(req, name);
    if (text && *text && clock_parse(text, out) < 0)
        return error_set(err, ERR_INVALID, "`%s` must be a time such as 2026-01-31T12:00:00Z", name);
    return 0;
}

static int read_query(struct http_request *req, struct media_query *q, struct error *err)
{
    int64_t limit;
    const char *status = api_given(req, "status");
    if (status && (media_status_parse(status, &q->status) < 0 || q->status == MEDIA_DELETING))
        return error_set(err, ERR_INVALID, "`status` must be uploaded, processing, completed or failed");
    q->by_status = status != NULL;
    q->tag = api_given(req, "tag");
    q->file_name = api_given(req, "fileName");
    if (api_tenant(req, NULL, &q->tenant, err) < 0 || read_time(req, "from", &q->from_ms, err) < 0 ||
        read_time(req, "to", &q->to_ms, err) < 0 || api_int(req, "limit", 1, LIST_MAX, LIST_DEFAULT, &limit, err) < 0 ||
        read_cursor(http_query(req, "cursor"), api_kind(req), q, http_arena(req), err) < 0)
        return -1;
    q->limit = (size_t)limit;
    q->kind = strcmp(api_kind(req), "vid") == 0 ? "video" : "image";
    return 0;
}

void api_image_list(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    struct api *api = ctx;
    struct media_query query = {0};
    struct media *rows;
    size_t count;
    struct error err = {0};
    if (read_query(req, &query, &err) < 0) {
        http_reply_error(req, &err);
        return;
    }
    size_t limit = query.limit++; // one more tells whether there is a next page
    if (item_list(api->flow, http_arena(req), &query, &rows, &count, &err) < 0) {
        http_reply_error(req, &err);
        return;
    }
    json_t *items = json_array();
    for (size_t i = 0; i < count && i < limit; i++)
        json_array_append_new(items, api_media_json(&rows[i]));
    json_t *next = count > limit ? json_sprintf("%lld.%s", (long long)rows[limit - 1].uploaded_ms, rows[limit - 1].id)
                                 : json_null();
    http_reply_json(req, 200, json_pack("{s:o,s:o}", "items", items, "nextCursor", next));
}
