// SPDX-License-Identifier: Apache-2.0
// Names: tenants, models, collections, paths of blobs.
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/js.h"
#include "flow/flow.h"
#include "flow/step.h"

bool flow_tenant_valid(const char *tenant)
{
    size_t len = strlen(tenant);
    if (len < 1 || len > 63 || !isalnum((unsigned char)tenant[0]))
        return false;
    for (size_t i = 1; i < len; i++)
        if (!isalnum((unsigned char)tenant[i]) && !strchr("._-", tenant[i]))
            return false;
    return true;
}

int flow_tenant_check(const char *tenant, struct error *err)
{
    if (flow_tenant_valid(tenant))
        return 0;
    return error_set(err, ERR_INVALID_TENANT,
                     "A tenant's name has 1 to 63 letters, digits, '.', '_' or '-', and starts with a letter or digit");
}

struct tenant_call {
    struct flow *flow;
    struct arena *arena;
    const char *name;
    struct meta_tenant *row;
};

static int read_tenant(struct meta_tx *tx, void *arg, struct error *err)
{
    struct tenant_call *call = arg;
    return call->flow->meta.ops->tenant_get(tx, call->arena, call->name, call->row, err);
}

int flow_tenant(struct flow *f, struct arena *arena, const char *tenant, struct meta_tenant *row, struct error *err)
{
    if (flow_tenant_check(tenant, err) < 0)
        return -1;
    struct tenant_call call = {f, arena, tenant, row};
    return f->meta.ops->read(f->meta.state, read_tenant, &call, err);
}

int flow_model(const struct flow *f, const char *name, const struct flow_model **out, struct error *err)
{
    if (!name || !*name)
        name = f->settings.model_default;
    _cleanup_buf_ struct buf known = BUF_INIT(4096);
    for (size_t i = 0; i < f->model_count; i++) {
        if (strcmp(f->models[i].model->name, name) == 0) {
            *out = &f->models[i];
            return 0;
        }
        buf_printf(&known, "%s%s", i ? ", " : "", f->models[i].model->name);
    }
    return error_set(err, ERR_MODEL_UNKNOWN, "There is no model \"%.60s\"; known are: %s", name,
                     known.data ? known.data : "none");
}

int flow_picture_model(const struct flow *f, const char *name, const struct flow_model **out, struct error *err)
{
    const struct flow_model *model;
    if (flow_model(f, name, &model, err) < 0)
        return -1;
    if (model->model->only_texts)
        return error_set(err, ERR_MODEL_UNKNOWN, "Model %s takes texts alone, no pictures", model->model->name);
    *out = model;
    return 0;
}

bool flow_model_name_valid(const char *name)
{
    static const char more[] = "abcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t len = strlen(name);
    return len >= 1 && len <= 63 && strspn(name, more) == len && !strchr("._-", name[0]);
}

const char *flow_collection(struct arena *arena, const char *slug, const char *model)
{
    char *plain = arena_strdup(arena, model);
    char *to = plain;
    for (const char *from = model; *from; from++)
        if (isalnum((unsigned char)*from))
            *to++ = (char)tolower((unsigned char)*from);
    *to = 0;
    return arena_printf(arena, "tenant_%s_%s_vectors", slug, plain);
}

// Slugs hold letters and digits alone: no tenant's name for its collections begins another's.
int flow_collections(struct flow *f, struct arena *arena, const char *tenant, const char ***out, size_t *count,
                     struct error *err)
{
    struct meta_tenant row;
    struct error why = {0};
    const char **all;
    size_t total, mine = 0;
    if (flow_tenant(f, arena, tenant, &row, &why) < 0) {
        *count = 0;
        return why.code == ERR_TENANT_UNKNOWN ? 0 : error_copy(err, &why);
    }
    if (f->index.ops->list(f->index.state, arena, &all, &total, err) < 0)
        return -1;
    const char *prefix = arena_printf(arena, "tenant_%s_", row.slug);
    for (size_t i = 0; i < total; i++)
        if (strncmp(all[i], prefix, strlen(prefix)) == 0)
            all[mine++] = all[i];
    *out = all;
    *count = mine;
    return 0;
}

static const char mount[] = "/storage/";

const char *flow_path(const struct flow *f, struct arena *arena, const char *key)
{
    char address[BLOB_ADDRESS_MAX];
    if (!f->blob.ops->address)
        return arena_printf(arena, "%s%s", mount, key);
    f->blob.ops->address(f->blob.state, key, address);
    return arena_strdup(arena, address);
}

const char *flow_path_key(const struct flow *f, struct arena *arena, const char *path)
{
    char key[BLOB_KEY_MAX + 1];
    if (path && strncmp(path, mount, sizeof mount - 1) == 0)
        return blob_key_valid(path + sizeof mount - 1) ? path + sizeof mount - 1 : NULL;
    bool found = path && f->blob.ops->key_of && f->blob.ops->key_of(f->blob.state, path, key);
    return found ? arena_strdup(arena, key) : NULL;
}

// "tenant-acme/thumbnails/7f/img_X.webp": found from the id alone, in 256 folders a tenant.
const char *flow_thumb_key(struct arena *arena, const char *tenant, const char *id)
{
    return arena_printf(arena, "tenant-%s/thumbnails/%02x/%s.webp", tenant, (unsigned)(hash64(id, strlen(id)) & 0xff),
                        id);
}

bool media_wants_thumbnail(const struct media *media)
{
    _cleanup_json_ json_t *options = js_parse(media->options, strlen(media->options), NULL);
    return js_bool(options, "generateThumbnail", true);
}

size_t media_models(struct arena *arena, const struct media *media, const char **out)
{
    _cleanup_json_ json_t *options = js_parse(media->options, strlen(media->options), NULL);
    json_t *names = js_arr(options, "models"), *name;
    size_t i, count = 0;
    json_array_foreach(names, i, name)
    {
        if (count < FLOW_MODELS_MAX && json_is_string(name))
            out[count++] = arena_strdup(arena, json_string_value(name));
    }
    return count;
}
