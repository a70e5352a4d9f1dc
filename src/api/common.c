// SPDX-License-Identifier: Apache-2.0
// Forms, tenants, numbers, and how an item looks as JSON.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_int.h"
#include "base/clock.h"

void form_init(struct form *form, const char *const *names)
{
    form->names = names;
    for (int i = 0; i < FORM_FIELDS; i++)
        form->values[i] = BUF_INIT(FORM_VALUE_MAX);
}

void form_free(struct form *form)
{
    for (int i = 0; i < FORM_FIELDS; i++)
        buf_free(&form->values[i]);
}

static int field_index(const struct form *form, const char *field)
{
    for (int i = 0; i < FORM_FIELDS && form->names[i]; i++)
        if (strcmp(form->names[i], field) == 0)
            return i;
    return -1;
}

int form_data(struct form *form, const char *field, const char *data, uint64_t offset, size_t len, struct error *err)
{
    int i = field_index(form, field);
    if (i < 0)
        return error_set(err, ERR_INVALID, "The form has a field \"%.60s\" that is not known here", field);
    struct buf *value = &form->values[i];
    if (offset == 0 && value->len)
        return error_set(err, ERR_INVALID, "The field `%s` is given twice", field);
    if (memchr(data, 0, len))
        return error_set(err, ERR_INVALID, "The field `%s` holds a NUL byte", field);
    if (buf_append(value, data, len) < 0)
        return error_set(err, ERR_INVALID, "The field `%s` is longer than %d bytes", field, FORM_VALUE_MAX);
    return 0;
}

const char *api_given(const struct http_request *req, const char *name)
{
    const char *value = http_query(req, name);
    return value && *value ? value : NULL;
}

const char *form_get(const struct form *form, const struct http_request *req, const char *name)
{
    int i = field_index(form, name);
    if (i >= 0 && form->values[i].len)
        return form->values[i].data;
    return api_given(req, name);
}

int api_tenant(const struct http_request *req, const char *given, const char **out, struct error *err)
{
    const char *header = http_header(req, "X-Tenant-Id");
    if (!given || !*given)
        given = api_given(req, "tenantId");
    if (given && header && strcmp(given, header) != 0)
        return error_set(err, ERR_INVALID, "`tenantId` and X-Tenant-Id name different tenants");
    const char *tenant = given ? given : header ? header : "default";
    if (flow_tenant_check(tenant, err) < 0)
        return -1;
    *out = tenant;
    return 0;
}

int api_int(const struct http_request *req, const char *name, int64_t least, int64_t most, int64_t otherwise,
            int64_t *out, struct error *err)
{
    const char *text = http_query(req, name);
    if (!text || !*text) {
        *out = otherwise;
        return 0;
    }
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || *end || value < least || value > most)
        return error_set(err, ERR_INVALID, "`%s` must be a whole number from %lld to %lld", name, (long long)least,
                         (long long)most);
    *out = value;
    return 0;
}

int api_time(const struct http_request *req, const char *name, int64_t *out, struct error *err)
{
    const char *text = api_given(req, name);
    int64_t ms = 0;
    if (text && (clock_parse(text, &ms) < 0 || ms <= 0))
        return error_set(err, ERR_INVALID, "`%s` must be a time such as 2026-11-22T10:30:00Z", name);
    *out = ms;
    return 0;
}

int api_flag(const struct http_request *req, const char *name, bool otherwise, bool *out, struct error *err)
{
    const char *text = api_given(req, name);
    if (text && strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
        return error_set(err, ERR_INVALID, "`%s` must be true or false", name);
    *out = text ? *text == 't' : otherwise;
    return 0;
}

int api_body(const struct http_request *req, json_t **out, struct error *err)
{
    size_t len;
    const char *text = http_body(req, &len);
    json_t *json = len ? js_parse(text, len, err) : json_object();
    if (!json)
        return -1;
    if (!json_is_object(json)) {
        json_decref(json);
        return error_set(err, ERR_INVALID, "The body must be a JSON object");
    }
    *out = json;
    return 0;
}

int api_body_known(const struct http_request *req, const char *const *known, json_t **out, struct error *err)
{
    const char *key;
    json_t *value;
    _cleanup_json_ json_t *body = NULL;
    if (api_body(req, &body, err) < 0)
        return -1;
    json_object_foreach(body, key, value)
    {
        size_t i = 0;
        while (known[i] && strcmp(known[i], key) != 0)
            i++;
        if (!known[i])
            return error_set(err, ERR_INVALID, "The member \"%.60s\" is not known", key);
    }
    *out = take_ptr(body);
    return 0;
}

int api_member_text(const json_t *body, const char *name, const char **out, struct error *err)
{
    const json_t *value = json_object_get(body, name);
    if (value && !json_is_string(value))
        return error_set(err, ERR_INVALID, "`%s` must be a string", name);
    *out = json_string_value(value);
    return 0;
}

int api_member_int(const json_t *body, const char *name, int64_t otherwise, int64_t *out, struct error *err)
{
    const json_t *value = json_object_get(body, name);
    if (value && !json_is_integer(value))
        return error_set(err, ERR_INVALID, "`%s` must be a whole number", name);
    *out = value ? json_integer_value(value) : otherwise;
    return 0;
}

int api_member_flag(const json_t *body, const char *name, bool otherwise, bool *out, struct error *err)
{
    const json_t *value = json_object_get(body, name);
    if (value && !json_is_boolean(value))
        return error_set(err, ERR_INVALID, "`%s` must be true or false", name);
    *out = value ? json_is_true(value) : otherwise;
    return 0;
}

void api_reply(struct http_request *req, int status, int rc, json_t *body, const struct error *err)
{
    if (rc < 0)
        http_reply_error(req, err);
    else
        http_reply_json(req, status, body);
}

static void set_parsed(json_t *json, const char *key, const char *text)
{
    json_t *value = text ? js_parse(text, strlen(text), NULL) : NULL;
    if (value)
        json_object_set_new(json, key, value);
}

const char *api_kind(const struct http_request *req)
{
    return strncmp(http_path(req), "/api/v1/videos", 14) == 0 ? "vid" : "img";
}

int api_id(struct http_request *req, const char **out, struct error *err)
{
    char id[ID_MAX];
    const char *kind = api_kind(req), *given = http_param(req, "id");
    if (item_id(given, kind, id, err) < 0)
        return -1;
    if (strcmp(kind, "vid") == 0 && strncmp(id, "vid_", 4) != 0)
        return error_set(err, ERR_INVALID_ID, "\"%.64s\" is not the id of a video", given);
    *out = arena_strdup(http_arena(req), id);
    return 0;
}

static bool is_video(const struct media *m)
{
    return strcmp(m->kind, "video") == 0;
}

static void set_link(json_t *json, const char *key, const struct media *m, const char *what)
{
    json_object_set_new(json, key, json_sprintf("/api/v1/%s/%s/%s", is_video(m) ? "videos" : "images", m->id, what));
}

// Links to what was made of the video.
static void set_derived(json_t *json, const struct media *m)
{
    const json_t *derived = js_obj(json_object_get(json, "video"), "derived");
    static const char *const kinds[][2] = {
        {"poster", "posterUrl"}, {"preview", "previewUrl"}, {"sprite", "spriteUrl"}, {"sprite", "spriteMapUrl"}};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (json_object_get(derived, kinds[i][0]))
            set_link(json, kinds[i][1], m, i == 3 ? "sprite.vtt" : kinds[i][0]);
}

static void set_video(json_t *json, const struct media *m)
{
    if (is_video(m)) {
        set_parsed(json, "video", m->video);
        set_link(json, "framesUrl", m, "frames");
        set_derived(json, m);
    }
    if (strcmp(m->kind, "image") == 0 && m->video) // a motion picture
        set_link(json, "motionUrl", m, "motion");
    if (m->parent) {
        js_set_str(json, "videoId", m->parent);
        json_object_set_new(json, "time", json_real((double)m->time_ms / 1000));
    }
}

void api_set_duplicate(json_t *json, const struct media *m)
{
    if (!m->alike_id)
        return;
    js_set_str(json, "duplicateOf", m->alike_id);
    json_object_set_new(json, "duplicateScore", json_real(m->alike_score));
}

json_t *api_media_json(const struct media *m)
{
    json_t *json =
        json_pack("{s:s,s:s,s:s,s:s,s:s,s:s?,s:s?,s:I,s:i,s:i,s:s?,s:s?}", is_video(m) ? "videoId" : "imageId", m->id,
                  "tenantId", m->tenant, "kind", m->kind, "status", media_status_name(m->status), "fileName",
                  m->file_name, "contentType", m->content_type, "format", m->format, "sizeBytes", (json_int_t)m->size,
                  "width", m->width, "height", m->height, "contentHash", m->hash, "uploadedBy", m->uploaded_by);
    set_parsed(json, "metadata", m->metadata);
    set_parsed(json, "tags", m->tags);
    set_parsed(json, "autoTags", m->auto_tags ? m->auto_tags : "[]");
    _cleanup_json_ json_t *options = js_parse(m->options, strlen(m->options), NULL);
    if (js_arr(options, "models"))
        json_object_set(json, "models", js_arr(options, "models"));
    js_set_time(json, "uploadedAt", m->uploaded_ms);
    js_set_time(json, "lastUpdated", m->updated_ms);
    json_object_set_new(json, "searchableAfter", json_null());
    js_set_time(json, "searchableAfter", m->completed_ms);
    set_link(json, "statusUrl", m, "status");
    set_link(json, "originalUrl", m, "original");
    json_object_set_new(json, "thumbnailUrl", json_null());
    if (m->thumb_key)
        set_link(json, "thumbnailUrl", m, "thumbnail");
    set_video(json, m);
    api_set_duplicate(json, m);
    if (m->error_code)
        json_object_set_new(json, "error", json_pack("{s:s,s:s?}", "code", m->error_code, "message", m->error_message));
    return json;
}
