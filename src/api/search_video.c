// SPDX-License-Identifier: Apache-2.0
// POST /api/v1/search/video: by a video (form or raw body), or a stored one. The file is streamed to one without a
// name, so that its size costs no memory.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/api_int.h"
#include "flow/search_video.h"
#include "flow/video_file.h"
#include "media/video/kind.h"
#include "obs/metrics.h"

struct video_search_sink {
    struct api *api;
    struct form form;
    int fd; // -1: no file came
    uint64_t received;
};

static const char *const fields[] = {"tenantId", "videoId", "topK", "minScore", "model", "filter", NULL};

static void sink_free(void *arg)
{
    struct video_search_sink *sink = arg;
    cleanup_close(&sink->fd);
    form_free(&sink->form);
    free(sink);
}

static int sink_begin(struct http_request *req, void *ctx, void **out, struct error *err)
{
    const struct flow_settings *settings = &api_flow(ctx)->settings;
    uint64_t length = http_content_length(req);
    if (length != UINT64_MAX && length > settings->video_max_bytes + FORM_FIELDS * (uint64_t)FORM_VALUE_MAX)
        return error_set(err, ERR_BODY_TOO_LARGE, "The video is larger than the %llu bytes that are accepted",
                         (unsigned long long)settings->video_max_bytes);
    struct video_search_sink *sink = calloc(1, sizeof *sink);
    if (!sink)
        return error_set(err, ERR_NO_MEMORY, "No memory for a search");
    sink->api = ctx;
    sink->fd = -1;
    form_init(&sink->form, fields);
    *out = sink;
    return 0;
}

static int sink_data(void *arg, const char *field, const char *file_name, const char *content_type, const char *data,
                     uint64_t offset, size_t len, struct error *err)
{
    (void)file_name, (void)content_type;
    struct video_search_sink *sink = arg;
    uint64_t most = sink->api->flow->settings.video_max_bytes;
    if (field && strcmp(field, "file") != 0)
        return form_data(&sink->form, field, data, offset, len, err);
    if (offset == 0 && field && sink->fd >= 0)
        return error_set(err, ERR_INVALID, "One file a search: the form holds two");
    if (!len && !field)
        return 0;
    if (sink->fd < 0 && video_file_new(&sink->fd, err) < 0)
        return -1;
    if ((sink->received += len) > most)
        return error_set(err, ERR_BODY_TOO_LARGE, "The video is larger than the %llu bytes that are accepted",
                         (unsigned long long)most);
    return len ? video_file_write(sink->fd, data, len, err) : 0;
}

const struct http_sink_ops api_search_video_sink = {.begin = sink_begin, .data = sink_data, .abort = sink_free};

// --- Reading the query

static int check_kind(const struct video_search_sink *sink, struct error *err)
{
    uint8_t head[VIDEO_KIND_BYTES];
    const struct video_kind *kind;
    if (sink->fd < 0)
        return 0;
    ssize_t got = pread(sink->fd, head, sizeof head, 0);
    return video_kind_find(head, got > 0 ? (size_t)got : 0, &kind, err);
}

static int read_number(const char *name, const char *text, double least, double most, double *out, struct error *err)
{
    char *end;
    if (!text)
        return 0;
    double value = strtod(text, &end);
    if (!*text || *end || !(value >= least && value <= most))
        return error_set(err, ERR_INVALID, "`%s` must be a number from %g to %g", name, least, most);
    *out = value;
    return 0;
}

static int read_query(struct http_request *req, const struct video_search_sink *sink, json_t **filter,
                      struct video_query *out, struct error *err)
{
    const struct form *form = &sink->form;
    double k = 0, least = VIDEO_QUERY_MIN_SCORE;
    *out = (struct video_query){
        .fd = sink->fd, .id = form_get(form, req, "videoId"), .model = form_get(form, req, "model")};
    if ((sink->fd >= 0) == (out->id != NULL))
        return error_set(err, ERR_INVALID, "A search with a video needs its `file`, or the `videoId` of a stored one");
    const char *text = form_get(form, req, "filter");
    if (text && !(*filter = js_parse(text, strlen(text), err)))
        return error_prefix(err, "`filter`");
    out->filter = *filter;
    if (api_tenant(req, form_get(form, req, "tenantId"), &out->tenant, err) < 0 || check_kind(sink, err) < 0 ||
        read_number("topK", form_get(form, req, "topK"), 1, 10000, &k, err) < 0 ||
        read_number("minScore", form_get(form, req, "minScore"), 0, 1, &least, err) < 0)
        return -1;
    out->k = (size_t)k;
    out->min_score = (float)least;
    return 0;
}

// --- The answer

static json_t *seconds(int64_t ms)
{
    return json_real((double)ms / 1000);
}

static json_t *hit_json(const struct video_hit *hit, const struct video_result *result)
{
    static const char *const shown[] = {"videoId",      "fileName",    "tags",      "autoTags",  "metadata",
                                        "uploadedAt",   "width",       "height",    "format",    "video",
                                        "thumbnailUrl", "originalUrl", "posterUrl", "previewUrl"};
    const struct align_match *m = &hit->match;
    json_t *media = api_media_json(&hit->video), *json = json_pack("{s:f,s:f,s:i}", "score", (double)m->score, "speed",
                                                                   m->speed, "matchingFrames", m->frames);
    for (size_t i = 0; i < ARRAY_LEN(shown); i++)
        if (json_object_get(media, shown[i]))
            json_object_set(json, shown[i], json_object_get(media, shown[i]));
    json_decref(media);
    json_object_set_new(json, "queryFrom", seconds(m->query_from_ms));
    json_object_set_new(json, "queryTo", seconds(m->query_to_ms));
    json_object_set_new(json, "from", seconds(m->from_ms));
    json_object_set_new(json, "to", seconds(m->to_ms));
    double part =
        result->duration_ms > 0 ? (double)(m->query_to_ms - m->query_from_ms) / (double)result->duration_ms : 1;
    json_object_set_new(json, "coverage", json_real(part < 1 ? part : 1));
    json_object_set_new(json, "url",
                        json_sprintf("/api/v1/videos/%s/original#t=%.3f,%.3f", hit->video.id, (double)m->from_ms / 1000,
                                     (double)m->to_ms / 1000));
    return json;
}

static json_t *answer_json(const struct video_result *result)
{
    json_t *results = json_array();
    for (size_t i = 0; i < result->count; i++)
        json_array_append_new(results, hit_json(&result->hits[i], result));
    return json_pack("{s:o,s:{s:f,s:i,s:b},s:s,s:f}", "results", results, "query", "duration",
                     (double)result->duration_ms / 1000, "frames", result->frames, "complete", result->complete,
                     "model", result->model, "tookMs", (double)result->took_us / 1000);
}

void api_search_video(struct http_request *req, void *ctx, void *arg)
{
    struct video_search_sink *sink = arg;
    struct video_query query;
    struct video_result result;
    struct error err = {0};
    _cleanup_json_ json_t *filter = NULL;
    if (read_query(req, sink, &filter, &query, &err) < 0 ||
        search_video(api_flow(ctx), &query, http_arena(req), &result, &err) < 0) {
        http_reply_error(req, &err);
    } else {
        metric_add(M_SEARCHES, NULL, 1);
        http_reply_json(req, 200, answer_json(&result));
    }
    sink_free(sink);
}
