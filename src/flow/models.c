// SPDX-License-Identifier: Apache-2.0
// Which model is taken when none is named: the tenant's, else the data directory's, else the configuration's.
//
// A data directory remembers what it began with (the setting "model.default"), so that installing a model later does
// not hide what was indexed before under another one; `models use` changes it, and a tenant's ("model.default.TENANT"),
// once the vectors of what is there are made (rebuild.h), or at once (flow_model_use).
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "flow/admin.h"
#include "flow/flow.h"
#include "flow/near.h"
#include "flow/rebuild.h"

#define SETTING "model.default"
static const char *const preferred[] = {"efficientnet-lite0", "builtin"};

struct default_call {
    struct flow *flow;
    struct arena *arena;
    const char *tenant;
    const char *of_tenant, *of_all; // what was found; NULL: nothing
    const char *name;               // to write
};

static int get_setting(struct default_call *call, struct meta_tx *tx, const char *name, const char **out,
                       struct error *err)
{
    struct error why = {0};
    if (call->flow->meta.ops->setting_get(tx, call->arena, name, out, &why) < 0)
        return why.code == ERR_NOT_FOUND ? 0 : error_copy(err, &why);
    if (!**out) // a tenant of that name was removed
        *out = NULL;
    return 0;
}

static const char *tenant_setting(struct arena *arena, const char *tenant)
{
    return arena_printf(arena, SETTING ".%s", tenant);
}

static int read_defaults(struct meta_tx *tx, void *arg, struct error *err)
{
    struct default_call *call = arg;
    if (call->tenant && get_setting(call, tx, tenant_setting(call->arena, call->tenant), &call->of_tenant, err) < 0)
        return -1;
    return get_setting(call, tx, SETTING, &call->of_all, err);
}

int flow_model_for(struct flow *f, const char *tenant, const char *name, const struct flow_model **out,
                   struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct default_call call = {.flow = f, .arena = &arena, .tenant = tenant};
    if (name && *name)
        return flow_model(f, name, out, err);
    if (f->meta.ops->read(f->meta.state, read_defaults, &call, err) < 0)
        return -1;
    if (call.of_tenant)
        return flow_model(f, call.of_tenant, out, err);
    if (!f->settings.model_fixed && call.of_all && flow_model(f, call.of_all, out, NULL) == 0)
        return 0;
    return flow_model(f, NULL, out, err);
}

int flow_model_choice(struct flow *f, struct meta_tx *tx, struct arena *arena, const char *tenant, const char **out,
                      struct error *err)
{
    struct default_call call = {.flow = f, .arena = arena};
    *out = NULL;
    return get_setting(&call, tx, tenant_setting(arena, tenant), out, err);
}

int flow_model_choose(struct flow *f, struct meta_tx *tx, const char *tenant, const char *name, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    return f->meta.ops->setting_put(tx, tenant ? tenant_setting(&arena, tenant) : SETTING, name, err);
}

static int write_default(struct meta_tx *tx, void *arg, struct error *err)
{
    struct default_call *call = arg;
    return flow_model_choose(call->flow, tx, call->tenant, call->name, err);
}

// Someone who wants the model at once wants no rebuild that would change it later.
static int use_now(struct meta_tx *tx, void *arg, struct error *err)
{
    struct default_call *call = arg;
    struct rebuild_note note;
    if (rebuild_note_get(call->flow, tx, call->arena, call->tenant, &note, err) < 0)
        return -1;
    bool changes = rebuild_active(&note) && strcmp(note.from, note.to) != 0;
    note.state = REBUILD_CANCELLED;
    note.ended_ms = clock_now_ms();
    return changes && rebuild_note_put(call->flow, tx, &note, err) < 0 ? -1 : write_default(tx, arg, err);
}

int flow_model_usable(struct flow *f, const char *tenant, const char *name, const struct flow_model **out,
                      struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct meta_tenant row;
    const struct flow_model *model;
    if (flow_picture_model(f, name, &model, err) < 0 || (tenant && flow_tenant(f, &arena, tenant, &row, err) < 0))
        return -1;
    if (!tenant && f->settings.model_fixed)
        return error_set(
            err, ERR_CONFLICT,
            "The configuration's model.default is %s, which stands above what is said here; set it to auto",
            f->settings.model_default);
    *out = model;
    return 0;
}

int flow_model_use(struct flow *f, const char *tenant, const char *name, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    const struct flow_model *model;
    if (flow_model_usable(f, tenant, name, &model, err) < 0)
        return -1;
    struct default_call call = {.flow = f, .arena = &arena, .tenant = tenant, .name = model->model->name};
    return f->meta.ops->write(f->meta.state, META_SYNCED, use_now, &call, err);
}

// --- Dropping a model's vectors

struct drop_call {
    struct flow *flow;
    struct arena *arena;
    const char *tenant, *model; // `tenant` NULL: all
    struct meta_tenant *tenants;
    size_t count;
};

static int check_free(struct drop_call *call, struct meta_tx *tx, const char *scope, struct error *err)
{
    struct rebuild_note note;
    if (rebuild_note_get(call->flow, tx, call->arena, scope, &note, err) < 0)
        return -1;
    if (!rebuild_active(&note) || (strcmp(note.from, call->model) != 0 && strcmp(note.to, call->model) != 0))
        return 0;
    return error_set(err, ERR_CONFLICT, "The vectors of %s are needed by the rebuild that is under way", call->model);
}

static int list_to_drop(struct meta_tx *tx, void *arg, struct error *err)
{
    struct drop_call *call = arg;
    const struct meta_ops *meta = call->flow->meta.ops;
    if (call->tenant) {
        call->tenants = arena_alloc(call->arena, sizeof *call->tenants);
        call->count = 1;
        if (meta->tenant_get(tx, call->arena, call->tenant, call->tenants, err) < 0)
            return -1;
    } else if (meta->tenant_list(tx, call->arena, &call->tenants, &call->count, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < call->count; i++)
        if (check_free(call, tx, call->tenants[i].name, err) < 0)
            return -1;
    return check_free(call, tx, NULL, err);
}

int flow_model_drop(struct flow *f, const char *tenant, const char *name, size_t *dropped, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct drop_call call = {.flow = f, .arena = &arena, .tenant = tenant, .model = name};
    const struct flow_model *used;
    size_t vectors = 0, there;
    if (!flow_model_name_valid(name))
        return error_set(err, ERR_MODEL_UNKNOWN, "\"%.60s\" is no model's name", name);
    if (f->meta.ops->read(f->meta.state, list_to_drop, &call, err) < 0)
        return -1;
    for (size_t i = 0; i < call.count; i++) {
        if (flow_model_for(f, call.tenants[i].name, NULL, &used, err) < 0)
            return -1;
        if (strcmp(used->model->name, name) == 0)
            return error_set(err, ERR_CONFLICT, "Tenant %s searches with %s; `models use` changes that",
                             call.tenants[i].name, name);
    }
    for (size_t i = 0; i < call.count; i++) {
        const char *collection = flow_collection(&arena, call.tenants[i].slug, name);
        if (f->index.ops->count(f->index.state, collection, &there, err) < 0 ||
            f->index.ops->drop(f->index.state, collection, err) < 0 ||
            near_drop(f, call.tenants[i].name, name, err) < 0)
            return -1;
        vectors += there;
    }
    *dropped = vectors;
    return 0;
}

static bool known(const struct flow *f, const char *name)
{
    for (size_t i = 0; i < f->model_count; i++)
        if (strcmp(f->models[i].model->name, name) == 0)
            return true;
    return false;
}

// A directory without a memory of it begins now, unless it has items: those were made when there was only the last of
// the list.
static int begin(struct flow *f, struct default_call *call, struct error *err)
{
    struct meta_ledger ledger;
    if (admin_ledger(f, NULL, &ledger, err) < 0)
        return -1;
    size_t choice = ledger.accepted ? ARRAY_LEN(preferred) - 1 : 0;
    while (choice < ARRAY_LEN(preferred) - 1 && !known(f, preferred[choice]))
        choice++;
    call->name = preferred[choice];
    f->settings.model_default = preferred[choice];
    return f->meta.ops->write(f->meta.state, META_SYNCED, write_default, call, err);
}

int flow_models_open(struct flow *f, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct default_call call = {.flow = f, .arena = &arena};
    const struct flow_model *model;
    f->settings.model_fixed = strcmp(f->settings.model_default, "auto") != 0;
    if (f->settings.model_fixed)
        return flow_picture_model(f, NULL, &model, err);
    if (f->meta.ops->read(f->meta.state, read_defaults, &call, err) < 0)
        return -1;
    if (!call.of_all)
        return begin(f, &call, err);
    f->settings.model_default = preferred[ARRAY_LEN(preferred) - 1];
    if (flow_model(f, call.of_all, &model, NULL) == 0)
        f->settings.model_default = model->model->name;
    else
        log_warn(
            "models",
            "The default model of this data directory, %s, is not there; new pictures and searches take %s until it "
            "is. `make models` gets the models that DeepLens comes with",
            call.of_all, f->settings.model_default);
    return 0;
}
