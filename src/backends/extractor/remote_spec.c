// SPDX-License-Identifier: Apache-2.0
// Reading the description of a model that a service runs: see remote_spec.h.
#include "backends/extractor/remote_spec.h"

#include <stdio.h>
#include <string.h>

#include "backends/extractor/model_spec_int.h"
#include "base/js.h"

enum { TIMEOUT_MAX_S = 3600, EDGE_USUAL = 512, BATCH_USUAL = 8, STREAMS_USUAL = 2 };

// What is put into a path, a form or JSON as it is.
static bool plain(const char *text)
{
    return strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:") == strlen(text);
}

static int read_names(struct remote_spec *r, const json_t *remote, struct error *err)
{
    const char *name = js_str(remote, "model", r->protocol == REMOTE_V2 ? r->model.name : ""),
               *version = js_str(remote, "version", ""), *input = js_str(remote, "input", "input");
    if (!plain(name) || !plain(version) || strlen(name) >= REMOTE_NAME_MAX || strlen(version) >= REMOTE_NAME_MAX)
        return spec_refuse(&r->model, err,
                           "`remote.model` and `remote.version` have letters, digits, '.', '_', '-' and ':'");
    if (strlen(input) >= REMOTE_NAME_MAX || strpbrk(input, "\"\\"))
        return spec_refuse(&r->model, err, "`remote.input` is no name of a tensor");
    spec_copy(r->name, sizeof r->name, name);
    spec_copy(r->version, sizeof r->version, version);
    spec_copy(r->input, sizeof r->input, input);
    return 0;
}

static int read_service(struct remote_spec *r, const json_t *remote, struct error *err)
{
    const char *protocol = js_str(remote, "protocol", ""), *url = js_str(remote, "url", ""),
               *type = js_str(remote, "datatype", "FP32");
    struct error why;
    if (strcmp(protocol, "extract-features") != 0 && strcmp(protocol, "v2") != 0)
        return spec_refuse(&r->model, err, "`remote.protocol` must be extract-features or v2");
    r->protocol = *protocol == 'v' ? REMOTE_V2 : REMOTE_FEATURES;
    if (call_check_url(url, &why) < 0)
        return error_set(err, ERR_CONFIG, "Model %s: `remote.url` %s", r->model.name, why.message);
    spec_copy(r->url, sizeof r->url, url);
    if (strcmp(type, "FP32") != 0 && strcmp(type, "UINT8") != 0)
        return spec_refuse(&r->model, err, "`remote.datatype` must be FP32 or UINT8");
    r->uint8 = *type == 'U';
    return read_names(r, remote, err);
}

static int read_bounds(struct remote_spec *r, const json_t *remote, struct error *err)
{
    double timeout = js_num(remote, "timeout", 0);
    int64_t batch = js_int(remote, "batch", BATCH_USUAL), streams = js_int(remote, "streams", STREAMS_USUAL),
            edge = js_int(remote, "edge", EDGE_USUAL);
    if (batch < 1 || batch > REMOTE_BATCH_MAX || streams < 1 || streams > REMOTE_STREAMS_MAX)
        return spec_refuse(&r->model, err, "`remote.batch` must be 1 to 64, `remote.streams` 1 to 8");
    if (!(timeout >= 0 && timeout <= TIMEOUT_MAX_S))
        return spec_refuse(&r->model, err, "`remote.timeout` must be 0 to 3600 seconds");
    if (edge < 1 || edge > MODEL_EDGE_MAX)
        return spec_refuse(&r->model, err, "`remote.edge` must be 1 to 2048 pixels");
    r->batch = (int)batch;
    r->streams = (int)streams;
    r->edge = (int)edge;
    r->timeout_ms = (int64_t)(timeout * 1000);
    return 0;
}

// The tensor is made here, so what goes into it must be said; a file is read there.
static int read_picture(struct remote_spec *r, const json_t *own, struct error *err)
{
    if (r->protocol == REMOTE_V2)
        return spec_input(&r->model, js_obj(own, "input"), err);
    r->model.width = r->model.height = r->model.resize = r->edge;
    for (int i = 0; i < 3; i++)
        r->model.std[i] = 1;
    return 0;
}

static int refuse_parts(const struct remote_spec *r, const json_t *own, struct error *err)
{
    static const char *const names[] = {"files", "text", "labels", "mix"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (json_object_get(own, names[i]))
            return error_set(err, ERR_CONFIG, "Model %s: a model that a service runs has no `%s`", r->model.name,
                             names[i]);
    return r->model.dimension ? 0
                              : spec_refuse(&r->model, err, "`dimension` must be said of a model that a service runs");
}

int remote_spec_read(const char *folder, struct remote_spec *out, struct error *err)
{
    struct remote_spec r = {0};
    _cleanup_json_ json_t *own = NULL;
    if (spec_folder(&r.model, folder, &own, err) < 0)
        return -1;
    const json_t *remote = js_obj(own, "remote");
    if (!remote)
        return error_set(err, ERR_NOT_FOUND, "%.200s holds no model that a service runs", folder);
    r.model.duplicate_score = js_num(js_obj(own, "duplicates"), "score", 0);
    if (spec_own(&r.model, own, own, err) < 0 || refuse_parts(&r, own, err) < 0 || read_service(&r, remote, err) < 0 ||
        read_bounds(&r, remote, err) < 0 || read_picture(&r, own, err) < 0)
        return -1;
    snprintf(r.model.version, sizeof r.model.version, "%.50s", js_str(own, "version", "1.0"));
    if (spec_check(&r.model, err) < 0)
        return -1;
    *out = r;
    return 0;
}
