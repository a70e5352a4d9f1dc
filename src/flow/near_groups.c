// SPDX-License-Identifier: Apache-2.0
// Near-duplicates for readers, and what tenants have said about theirs: see near.h.
#include <string.h>

#include "flow/near.h"

// --- Policies: a setting a tenant, "" where it was taken back

struct policy_call {
    struct flow *flow;
    struct arena *arena;
    const char *tenant;
    const char *value;
};

static const char *setting_name(struct arena *arena, const char *tenant)
{
    return arena_printf(arena, "duplicates.policy.%s", tenant);
}

int near_policy_own_tx(struct flow *f, struct meta_tx *tx, struct arena *arena, const char *tenant, const char **out,
                       struct error *err)
{
    struct error why = {0};
    const char *value = "";
    if (f->meta.ops->setting_get(tx, arena, setting_name(arena, tenant), &value, &why) < 0 && why.code != ERR_NOT_FOUND)
        return error_copy(err, &why);
    *out = *value ? value : NULL;
    return 0;
}

static int read_policy(struct meta_tx *tx, void *arg, struct error *err)
{
    struct policy_call *call = arg;
    return near_policy_own_tx(call->flow, tx, call->arena, call->tenant, &call->value, err);
}

int near_policy_for(struct flow *f, const char *tenant, enum near_policy *out, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct policy_call call = {.flow = f, .arena = &arena, .tenant = tenant};
    enum near_policy policy = f->settings.duplicate_policy;
    if (f->meta.ops->read(f->meta.state, read_policy, &call, err) < 0)
        return -1;
    if (call.value)
        near_policy_parse(call.value, &policy);
    *out = policy;
    return 0;
}

static int write_policy(struct meta_tx *tx, void *arg, struct error *err)
{
    struct policy_call *call = arg;
    return call->flow->meta.ops->setting_put(tx, setting_name(call->arena, call->tenant), call->value, err);
}

int near_policy_forget_tx(struct flow *f, struct meta_tx *tx, const char *tenant, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    return f->meta.ops->setting_put(tx, setting_name(&arena, tenant), "", err);
}

int near_policy_set(struct flow *f, const char *tenant, const char *name, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct meta_tenant row;
    enum near_policy policy;
    struct policy_call call = {.flow = f, .arena = &arena, .tenant = tenant, .value = name ? name : ""};
    if (name && near_policy_parse(name, &policy) < 0)
        return error_set(err, ERR_INVALID, "`duplicatePolicy` must be keep, link or reject");
    if (flow_tenant(f, &arena, tenant, &row, err) < 0)
        return -1;
    return f->meta.ops->write(f->meta.state, META_SYNCED, write_policy, &call, err);
}

// --- Groups

struct groups_call {
    struct flow *flow;
    struct arena *arena;
    const struct near_query *query;
    struct near_groups *out;
    const char *id; // in full; NULL: all
};

static int not_in_any(const struct groups_call *call, struct error *err)
{
    return error_set(err, ERR_NOT_FOUND, "Nothing looks like %.64s", call->id);
}

// The group of one item, of a frame that of its video.
static int find_one(struct groups_call *call, struct meta_tx *tx, struct meta_alike *group, struct error *err)
{
    const struct meta_ops *meta = call->flow->meta.ops;
    const char *tenant = call->query->tenant;
    struct media media;
    if (meta->media_get(tx, call->arena, tenant, call->id, &media, err) < 0)
        return -1;
    const char *id = media.parent ? media.parent : media.id;
    if (media.status == MEDIA_DELETING)
        return error_set(err, ERR_NOT_FOUND, "There is no item %.64s", call->id);
    if (meta->alike_find(tx, tenant, call->out->model, id, &group->group, err) < 0)
        return -1;
    return group->group ? 0 : not_in_any(call, err);
}

static int find_groups(struct groups_call *call, struct meta_tx *tx, struct meta_alike **groups, size_t *count,
                       struct error *err)
{
    const struct near_query *q = call->query;
    if (!call->id)
        return call->flow->meta.ops->alike_groups(tx, call->arena, q->tenant, call->out->model, q->before, q->limit + 1,
                                                  groups, count, err);
    *groups = arena_alloc(call->arena, sizeof **groups);
    *count = 1;
    return find_one(call, tx, *groups, err);
}

static int groups_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct groups_call *call = arg;
    const struct near_query *q = call->query;
    struct near_groups *out = call->out;
    struct meta_alike *groups;
    size_t count;
    if (find_groups(call, tx, &groups, &count, err) < 0)
        return -1;
    out->next = count > q->limit ? groups[q->limit - 1].group : 0;
    out->count = count > q->limit ? q->limit : count;
    out->at = arena_alloc(call->arena, (out->count + 1) * sizeof *out->at);
    for (size_t i = 0; i < out->count; i++) {
        struct near_group *group = &out->at[i];
        *group = (struct near_group){.group = groups[i].group};
        if (call->flow->meta.ops->alike_members(tx, call->arena, q->tenant, out->model, group->group, q->members,
                                                &group->items, &group->shown, &group->count, err) < 0)
            return -1;
    }
    return 0;
}

int near_groups(struct flow *f, const struct near_query *query, struct arena *arena, struct near_groups *out,
                struct error *err)
{
    struct meta_tenant tenant;
    const struct flow_model *model;
    char id[ID_MAX];
    if (flow_tenant(f, arena, query->tenant, &tenant, err) < 0 ||
        flow_model_for(f, query->tenant, query->model, &model, err) < 0 ||
        (query->id && item_id(query->id, "img", id, err) < 0))
        return -1;
    struct near_groups found = {.model = model->model->name, .score = near_score(f, model)};
    if (found.score <= 0)
        return error_set(err, ERR_CONFLICT,
                         "From which score pictures are near-duplicates under model %s is not known: see "
                         "`duplicates.score` in its model.json, or the option duplicates.score",
                         found.model);
    struct groups_call call = {.flow = f, .arena = arena, .query = query, .out = &found, .id = query->id ? id : NULL};
    if (f->meta.ops->read(f->meta.state, groups_tx, &call, err) < 0)
        return -1;
    *out = found;
    return 0;
}

// --- A model that is dropped

struct drop_call {
    struct flow *flow;
    const char *tenant, *model;
    size_t dropped;
};

static int drop_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    enum { AT_ONCE = 1000 };
    struct drop_call *call = arg;
    return call->flow->meta.ops->alike_drop(tx, call->tenant, call->model, AT_ONCE, &call->dropped, err);
}

int near_drop(struct flow *f, const char *tenant, const char *model, struct error *err)
{
    struct drop_call call = {.flow = f, .tenant = tenant, .model = model};
    do
        if (f->meta.ops->write(f->meta.state, META_RELAXED, drop_tx, &call, err) < 0)
            return -1;
    while (call.dropped);
    return 0;
}
