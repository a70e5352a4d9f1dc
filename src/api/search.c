// SPDX-License-Identifier: Apache-2.0
// POST /api/v1/search: by picture (form or raw body), by text, by stored item, by vector, by several of them with
// weights. GET /api/v1/search: the same fields in the query.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_int.h"
#include "obs/metrics.h"

struct search_sink {
    struct api *api;
    struct buf body; // the picture, or the JSON
    bool has_file;
    bool is_json;
    struct form form;
};

static const char *const search_fields[] = {"tenantId", "text",  "imageId", "vector", "terms", "topK",
                                            "minScore", "model", "filter",  "cursor", NULL};

static void search_sink_free(void *arg)
{
    struct search_sink *sink = arg;
    buf_free(&sink->body);
    form_free(&sink->form);
    free(sink);
}

static int search_sink_begin(struct http_request *req, void *ctx, void **out, struct error *err)
{
    struct api *api = ctx;
    struct search_sink *sink = calloc(1, sizeof *sink);
    if (!sink)
        return error_set(err, ERR_NO_MEMORY, "No memory for a search");
    const char *type = http_header(req, "Content-Type");
    sink->api = api;
    sink->is_json = type && strncasecmp(type, "application/json", 16) == 0;
    sink->body = BUF_INIT(api->flow->settings.upload_max_bytes);
    form_init(&sink->form, search_fields);
    *out = sink;
    return 0;
}

static int search_sink_data(void *arg, const char *field, const char *file_name, const char *content_type,
                            const char *data, uint64_t offset, size_t len, struct error *err)
{
    (void)file_name, (void)content_type;
    struct search_sink *sink = arg;
    if (field && strcmp(field, "file") != 0)
        return form_data(&sink->form, field, data, offset, len, err);
    if (offset == 0 && field && sink->has_file)
        return error_set(err, ERR_INVALID, "One file a search: the form holds two");
    sink->has_file = true;
    if (buf_append(&sink->body, data, len) < 0)
        return error_set(err, ERR_BODY_TOO_LARGE, "The file is larger than the %zu bytes that are accepted",
                         sink->body.max);
    return 0;
}

const struct http_sink_ops api_search_sink = {
    .begin = search_sink_begin, .data = search_sink_data, .abort = search_sink_free};

// --- Reading the query: every form becomes one JSON object

static int add_json_field(json_t *query, const char *name, const char *text, struct error *err)
{
    json_t *value = js_parse(text, strlen(text), err);
    if (!value)
        return error_prefix(err, "`%s`", name);
    json_object_set_new(query, name, value);
    return 0;
}

static int query_of_form(struct http_request *req, const struct form *form, json_t *query, struct error *err)
{
    static const char *const texts[] = {"tenantId", "text", "imageId", "model", "cursor"};
    static const char *const values[] = {"vector", "terms", "topK", "minScore", "filter"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        js_set_str(query, texts[i], form_get(form, req, texts[i]));
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        const char *text = form_get(form, req, values[i]);
        if (text && add_json_field(query, values[i], text, err) < 0)
            return -1;
    }
    return 0;
}

// Clients with typed classes send null for what they do not set.
static void drop_nulls(json_t *query)
{
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(query, next, key, value)
    {
        if (json_is_null(value))
            json_object_del(query, key);
    }
}

static json_t *read_json(struct http_request *req, const struct search_sink *sink, struct error *err)
{
    if (!sink->is_json) {
        _cleanup_json_ json_t *query = json_object();
        return query_of_form(req, &sink->form, query, err) < 0 ? NULL : take_ptr(query);
    }
    json_t *query = js_parse(sink->body.data ? sink->body.data : "", sink->body.len, err);
    if (query && !json_is_object(query)) {
        json_decref(query);
        error_set(err, ERR_INVALID, "The body must be a JSON object");
        return NULL;
    }
    drop_nulls(query);
    return query;
}

static int check_members(const json_t *query, struct error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)query, key, value)
    {
        bool known = false;
        for (size_t i = 0; search_fields[i]; i++)
            known |= strcmp(key, search_fields[i]) == 0;
        if (!known)
            return error_set(err, ERR_INVALID, "The search has a member \"%.60s\" that is not known", key);
    }
    static const char *const texts[] = {"tenantId", "text", "imageId", "model", "cursor"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        value = json_object_get(query, texts[i]);
        if (value && !json_is_string(value))
            return error_set(err, ERR_INVALID, "`%s` must be a string", texts[i]);
    }
    return 0;
}

static int read_vector(struct arena *arena, const json_t *array, const float **out, size_t *len, struct error *err)
{
    if (!array)
        return 0;
    size_t count = json_array_size(array);
    if (!json_is_array(array) || count == 0 || count > 65536)
        return error_set(err, ERR_INVALID_VECTOR, "`vector` must be an array of 1 to 65536 numbers");
    float *vector = arena_alloc(arena, count * sizeof *vector);
    for (size_t i = 0; i < count; i++) {
        const json_t *number = json_array_get(array, i);
        if (!json_is_number(number))
            return error_set(err, ERR_INVALID_VECTOR, "`vector` holds something else than numbers at place %zu", i);
        vector[i] = (float)json_number_value(number);
    }
    *out = vector;
    *len = count;
    return 0;
}

// {"text" | "imageId" | "vector": …, "weight": 1}
static int read_term(struct arena *arena, const json_t *json, struct search_term *out, struct error *err)
{
    const json_t *text = json_object_get(json, "text"), *id = json_object_get(json, "imageId"),
                 *vector = json_object_get(json, "vector"), *weight = json_object_get(json, "weight");
    if (!json_is_object(json) || !text + !id + !vector != 2 || json_object_size(json) != (weight ? 2 : 1))
        return error_set(err, ERR_INVALID,
                         "each of `terms` must be an object with one of `text`, `imageId` and `vector`, and `weight`");
    if ((text && !json_is_string(text)) || (id && !json_is_string(id)))
        return error_set(err, ERR_INVALID, "`text` and `imageId` in `terms` must be strings");
    double heavy = weight ? json_number_value(weight) : 1;
    if (weight && (!json_is_number(weight) || heavy == 0 || heavy < -100 || heavy > 100))
        return error_set(err, ERR_INVALID, "`weight` must be a number from -100 to 100 other than 0");
    *out = (struct search_term){.text = json_string_value(text), .id = json_string_value(id), .weight = (float)heavy};
    return vector ? read_vector(arena, vector, &out->vector, &out->vector_len, err) : 0;
}

static int read_terms(struct arena *arena, const json_t *array, struct search_query *out, struct error *err)
{
    size_t i, count = json_array_size(array);
    json_t *one;
    if (!array)
        return 0;
    if (!json_is_array(array) || count > SEARCH_TERMS_MAX)
        return error_set(err, ERR_INVALID, "`terms` must be an array of at most 12");
    struct search_term *terms = arena_alloc(arena, (count + 1) * sizeof *terms);
    json_array_foreach(array, i, one)
    {
        if (read_term(arena, one, &terms[i], err) < 0)
            return -1;
    }
    out->terms = terms;
    out->term_count = count;
    return 0;
}

static int read_numbers(const json_t *json, struct search_query *out, struct error *err)
{
    json_t *k = json_object_get(json, "topK"), *least = json_object_get(json, "minScore");
    const char *cursor = js_str(json, "cursor", "");
    if (k && (!json_is_integer(k) || json_integer_value(k) < 1 || json_integer_value(k) > 10000))
        return error_set(err, ERR_INVALID, "`topK` must be a whole number from 1 on");
    if (least && (!json_is_number(least) || json_number_value(least) < -1 || json_number_value(least) > 1))
        return error_set(err, ERR_INVALID, "`minScore` must be a number from -1 to 1");
    unsigned offset = 0;
    int used = 0;
    if (*cursor && (sscanf(cursor, "s%4u%n", &offset, &used) != 1 || cursor[used]))
        return error_set(err, ERR_INVALID_CURSOR, "The cursor is not one that DeepLens gave");
    out->k = k ? (size_t)json_integer_value(k) : 0;
    out->min_score = least ? (float)json_number_value(least) : -1;
    out->offset = offset;
    return 0;
}

static int read_search(struct http_request *req, const struct search_sink *sink, const json_t *json,
                       struct search_query *out, struct error *err)
{
    *out = (struct search_query){
        .text = js_str(json, "text", NULL), .id = js_str(json, "imageId", NULL), .model = js_str(json, "model", NULL)};
    if (sink->has_file && !sink->is_json) {
        out->image = sink->body.data ? sink->body.data : "";
        out->image_len = sink->body.len;
    }
    if (check_members(json, err) < 0 || api_tenant(req, js_str(json, "tenantId", NULL), &out->tenant, err) < 0)
        return -1;
    if (read_numbers(json, out, err) < 0 ||
        read_vector(http_arena(req), json_object_get(json, "vector"), &out->vector, &out->vector_len, err) < 0)
        return -1;
    return read_terms(http_arena(req), json_object_get(json, "terms"), out, err);
}

// --- The answer

static json_t *moment_json(const struct media *video, const struct search_moment *m)
{
    double seconds = (double)m->time_ms / 1000;
    json_t *json =
        json_pack("{s:s,s:f,s:f,s:n}", "imageId", m->frame, "time", seconds, "score", (double)m->score, "thumbnailUrl");
    json_object_set_new(json, "url", json_sprintf("/api/v1/videos/%s/original#t=%.3f", video->id, seconds));
    if (m->shown)
        json_object_set_new(json, "thumbnailUrl", json_sprintf("/api/v1/images/%s/thumbnail", m->frame));
    return json;
}

// A video is found by its best moment, which stands for it; the others are inside.
static void set_moments(json_t *json, const struct search_hit *hit)
{
    json_t *best = moment_json(&hit->media, &hit->moments[0]), *others = json_array();
    for (size_t i = 1; i < hit->moment_count; i++)
        json_array_append_new(others, moment_json(&hit->media, &hit->moments[i]));
    json_object_update(json, best);
    json_decref(best);
    js_set_str(json, "videoId", hit->media.id);
    json_object_set_new(json, "moments", others);
}

static json_t *hit_json(const struct search_hit *hit)
{
    static const char *const shown[] = {"imageId", "fileName", "tags",   "autoTags",     "metadata",   "uploadedAt",
                                        "width",   "height",   "format", "thumbnailUrl", "originalUrl"};
    json_t *media = api_media_json(&hit->media);
    json_t *json = json_pack("{s:f}", "score", (double)hit->score);
    for (size_t i = 0; i < ARRAY_LEN(shown); i++)
        if (json_object_get(media, shown[i]))
            json_object_set(json, shown[i], json_object_get(media, shown[i]));
    json_decref(media);
    if (hit->moment_count)
        set_moments(json, hit);
    return json;
}

static json_t *answer_json(const struct search_query *query, size_t k, const struct search_result *result)
{
    json_t *results = json_array();
    for (size_t i = 0; i < result->count; i++)
        json_array_append_new(results, hit_json(&result->hits[i]));
    json_t *next = result->more ? json_sprintf("s%zu", query->offset + k) : json_null();
    return json_pack("{s:o,s:s,s:f,s:o}", "results", results, "model", result->model, "tookMs",
                     (double)result->took_us / 1000, "nextCursor", next);
}

static void run_search(struct http_request *req, const struct search_sink *sink)
{
    struct flow *f = sink->api->flow;
    struct error err = {0};
    struct search_query query;
    struct search_result result;
    struct filter *filter = NULL;
    _cleanup_json_ json_t *json = read_json(req, sink, &err);
    bool ok = json && read_search(req, sink, json, &query, &err) == 0 &&
              filter_parse(json_object_get(json, "filter"), &filter, &err) == 0;
    query.filter = filter;
    if (ok && search_run(f, &query, http_arena(req), &result, &err) == 0) {
        metric_add(M_SEARCHES, NULL, 1);
        metric_observe(M_SEARCH_SECONDS, NULL, (double)result.took_us / 1e6);
        http_reply_json(req, 200, answer_json(&query, query.k ? query.k : f->settings.search_k, &result));
    } else {
        http_reply_error(req, &err);
    }
    filter_free(filter);
}

void api_search_get(struct http_request *req, void *ctx, void *arg)
{
    (void)arg;
    struct search_sink sink = {.api = ctx};
    form_init(&sink.form, search_fields);
    run_search(req, &sink);
    form_free(&sink.form);
}

void api_search(struct http_request *req, void *ctx, void *arg)
{
    (void)ctx;
    struct search_sink *sink = arg;
    run_search(req, sink);
    search_sink_free(sink);
}
