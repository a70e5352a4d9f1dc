// SPDX-License-Identifier: Apache-2.0
// Ledger, tenants, models.
#include "flow/admin.h"

#include <string.h>

#include "base/js.h"
#include "flow/near.h"
#include "flow/rebuild.h"

struct ledger_call {
    struct flow *flow;
    const char *tenant;
    struct meta_ledger *out;
};

static int ledger_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct ledger_call *call = arg;
    return call->flow->meta.ops->ledger(tx, call->tenant, call->out, err);
}

int admin_ledger(struct flow *f, const char *tenant, struct meta_ledger *out, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct meta_tenant row;
    if (tenant && flow_tenant(f, &arena, tenant, &row, err) < 0)
        return -1;
    struct ledger_call call = {f, tenant, out};
    return f->meta.ops->read(f->meta.state, ledger_tx, &call, err);
}

bool admin_ledger_closes(const struct meta_ledger *l)
{
    return l->accepted == l->searchable + l->failed + l->deleted + l->in_flight;
}

struct tenants_call {
    struct flow *flow;
    const char *name;
    struct arena *arena;
    struct meta_tenant *rows;
    const char **policies; // their own; NULL: none
    size_t count;
};

static int tenant_add_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct tenants_call *call = arg;
    return call->flow->meta.ops->tenant_add(tx, call->name, err);
}

int admin_tenant_add(struct flow *f, const char *name, struct error *err)
{
    struct tenants_call call = {.flow = f, .name = name};
    return f->meta.ops->write(f->meta.state, META_SYNCED, tenant_add_tx, &call, err);
}

static int tenant_list_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct tenants_call *call = arg;
    if (call->flow->meta.ops->tenant_list(tx, call->arena, &call->rows, &call->count, err) < 0)
        return -1;
    call->policies = arena_alloc(call->arena, (call->count + 1) * sizeof *call->policies);
    for (size_t i = 0; i < call->count; i++)
        if (near_policy_own_tx(call->flow, tx, call->arena, call->rows[i].name, &call->policies[i], err) < 0)
            return -1;
    return 0;
}

int admin_tenants(struct flow *f, json_t **out, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct tenants_call call = {.flow = f, .arena = &arena};
    if (f->meta.ops->read(f->meta.state, tenant_list_tx, &call, err) < 0)
        return -1;
    json_t *list = json_array();
    for (size_t i = 0; i < call.count; i++) {
        json_t *tenant = json_pack("{s:s}", "name", call.rows[i].name);
        js_set_time(tenant, "createdAt", call.rows[i].created_ms);
        js_set_str(tenant, "duplicatePolicy", call.policies[i]);
        js_set_time(tenant, "removedSince", call.rows[i].leaving_ms);
        json_array_append_new(list, tenant);
    }
    *out = json_pack("{s:o}", "tenants", list);
    return 0;
}

int admin_models(struct flow *f, const char *tenant, json_t **out, struct error *err)
{
    const struct flow_model *otherwise;
    if (flow_model_for(f, tenant, NULL, &otherwise, err) < 0)
        return -1;
    json_t *list = json_array();
    for (size_t i = 0; i < f->model_count; i++) {
        const struct extractor_model *m = f->models[i].model;
        json_t *one = json_pack("{s:s,s:s,s:I,s:b}", "name", m->name, "version", m->version, "dimension",
                                (json_int_t)m->dimension, "default", &f->models[i] == otherwise);
        json_object_set_new(one, "pictures", json_boolean(!m->only_texts));
        json_object_set_new(one, "texts", json_boolean(m->texts));
        json_object_set_new(one, "labels", json_boolean(m->labels));
        if (near_score(f, &f->models[i]) > 0)
            json_object_set_new(one, "duplicateScore", json_real(near_score(f, &f->models[i])));
        js_set_str(one, "precision", m->precision);
        js_set_str(one, "licence", m->licence);
        js_set_str(one, "source", m->source);
        json_array_append_new(list, one);
    }
    json_t *rebuilds;
    if (rebuild_list(f, tenant, &rebuilds, err) < 0) {
        json_decref(list);
        return -1;
    }
    *out = json_pack("{s:o,s:o}", "models", list, "rebuilds", rebuilds);
    return 0;
}
