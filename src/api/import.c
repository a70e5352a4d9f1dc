// SPDX-License-Identifier: Apache-2.0
// POST /api/v1/images/import: items of files that are in the blob store already, one by its path or many by a prefix.
#include <stdlib.h>
#include <string.h>

#include "api/api_int.h"
#include "obs/metrics.h"

enum { IMPORT_MAX = 1000, IMPORT_DEFAULT = 100 };

struct import { // what the body says; texts live as long as it
    const char *path, *prefix, *cursor;
    int64_t limit;
    struct upload_fields fields;
    char *metadata, *tags, *options; // as JSON
};

static void import_free(struct import *i)
{
    free(i->metadata);
    free(i->tags);
    free(i->options);
}

static char *dump_member(const json_t *body, const char *name)
{
    json_t *value = json_object_get(body, name);
    return value && !json_is_null(value) ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
}

static int read_import(struct http_request *req, const json_t *body, struct import *out, struct error *err)
{
    out->path = js_str(body, "path", NULL);
    out->prefix = js_str(body, "prefix", NULL);
    out->cursor = js_str(body, "cursor", NULL);
    if (!out->path == !out->prefix)
        return error_set(err, ERR_INVALID, "The body must say a `path`, or a `prefix` of many");
    if (api_member_int(body, "limit", IMPORT_DEFAULT, &out->limit, err) < 0 ||
        api_tenant(req, js_str(body, "tenantId", NULL), &out->fields.tenant, err) < 0)
        return -1;
    if (out->limit < 1 || out->limit > IMPORT_MAX)
        return error_set(err, ERR_INVALID, "`limit` must be a whole number from 1 to %d", IMPORT_MAX);
    out->fields.metadata = out->metadata = dump_member(body, "metadata");
    out->fields.tags = out->tags = dump_member(body, "tags");
    out->fields.options = out->options = dump_member(body, "processingOptions");
    out->fields.uploaded_by = js_str(body, "uploadedBy", NULL);
    return 0;
}

// Imports one; what became of it is one object.
static json_t *import_one(struct flow *f, struct arena *arena, const struct import *i, const char *path,
                          struct error *err)
{
    struct upload_result result;
    if (upload_import(f, path, &i->fields, arena, &result, err) < 0) {
        metric_add(M_UPLOADS_REFUSED, error_code_name(err->code), 1);
        return NULL;
    }
    metric_add(result.duplicate ? M_UPLOADS_DUPLICATE : M_UPLOADS_ACCEPTED, NULL, 1);
    json_t *item = json_pack("{s:s,s:s,s:s,s:b}", "path", path, "imageId", result.id, "status",
                             media_status_name(result.status), "duplicate", result.duplicate);
    json_object_set_new(item, "statusCheckUrl", json_sprintf("/api/v1/images/%s/status", result.id));
    return item;
}

// A page of a prefix. A file that is refused is told of; an outage ends the page, to be asked for again.
static int import_page(struct flow *f, struct arena *arena, const struct import *i, json_t **out, struct error *err)
{
    const char **paths;
    size_t count;
    bool more;
    if (upload_import_list(f, i->prefix, &i->fields, i->cursor, (size_t)i->limit, arena, &paths, &count, &more, err) <
        0)
        return -1;
    _cleanup_json_ json_t *items = json_array();
    for (size_t n = 0; n < count; n++) {
        struct error why = {0};
        json_t *item = import_one(f, arena, i, paths[n], &why);
        if (!item && (why.outage || why.retryable))
            return error_copy(err, &why);
        if (!item)
            item = json_pack("{s:s,s:{s:s,s:s}}", "path", paths[n], "error", "code", error_code_name(why.code),
                             "message", why.message);
        json_array_append_new(items, item);
    }
    *out = json_pack("{s:O,s:s?}", "items", items, "nextCursor", more ? paths[count - 1] : NULL);
    return 0;
}

void api_image_import(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    struct api *api = ctx;
    struct import import = {0};
    struct error err = {0};
    _cleanup_json_ json_t *body = NULL;
    json_t *answer = NULL;
    int rc = -1, status = 200;
    if (api_body(req, &body, &err) == 0 && read_import(req, body, &import, &err) == 0) {
        if (import.prefix) {
            rc = import_page(api->flow, http_arena(req), &import, &answer, &err);
        } else {
            answer = import_one(api->flow, http_arena(req), &import, import.path, &err);
            rc = answer ? 0 : -1;
            status = answer && js_bool(answer, "duplicate", false) ? 200 : 202;
        }
    }
    api_reply(req, status, rc, answer, &err);
    import_free(&import);
}
