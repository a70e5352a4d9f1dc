// SPDX-License-Identifier: Apache-2.0
// Which model is taken when none is named: the tenant's, else the data directory's, else the configuration's.
//
// A data directory remembers what it began with (the setting "model.default"), so that installing a model later does
// not hide what was indexed before under another one; `models use` changes it, and a tenant's ("model.default.TENANT").
#include <string.h>

#include "base/log.h"
#include "flow/admin.h"
#include "flow/flow.h"

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
    if (call->flow->meta.ops->setting_get(tx, call->arena, name, out, &why) == 0 || why.code == ERR_NOT_FOUND)
        return 0;
    return error_copy(err, &why);
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

static int write_default(struct meta_tx *tx, void *arg, struct error *err)
{
    struct default_call *call = arg;
    const char *setting = call->tenant ? tenant_setting(call->arena, call->tenant) : SETTING;
    return call->flow->meta.ops->setting_put(tx, setting, call->name, err);
}

int flow_model_use(struct flow *f, const char *tenant, const char *name, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct meta_tenant row;
    const struct flow_model *model;
    if (flow_model(f, name, &model, err) < 0 || (tenant && flow_tenant(f, &arena, tenant, &row, err) < 0))
        return -1;
    if (!tenant && f->settings.model_fixed)
        return error_set(
            err, ERR_CONFLICT,
            "The configuration's model.default is %s, which stands above what is said here; set it to auto",
            f->settings.model_default);
    struct default_call call = {.flow = f, .arena = &arena, .tenant = tenant, .name = model->model->name};
    return f->meta.ops->write(f->meta.state, META_SYNCED, write_default, &call, err);
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
        return flow_model(f, NULL, &model, err);
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
