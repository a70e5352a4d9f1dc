// SPDX-License-Identifier: Apache-2.0
#include "flow/health.h"

#include "flow/admin.h"
#include "flow/relay.h"
#include "flow/reply.h"
#include "flow/runner.h"

struct health {
    health_fn *fn;
    void *arg;
    bool well;
};

static void note(struct health *h, const char *name, int rc, const struct error *why)
{
    h->fn(h->arg, name, rc < 0 ? why : NULL);
    h->well &= rc == 0;
}

static void look_at_records(struct flow *f, struct health *h)
{
    struct meta_ledger ledger;
    struct error why = {0};
    int rc = admin_ledger(f, "default", &ledger, &why);
    note(h, "records", rc, &why);
}

static void look_at_disk(struct flow *f, struct health *h)
{
    uint64_t space;
    struct error why = {0};
    int rc = f->blob.ops->free_space(f->blob.state, &space, &why);
    if (rc == 0 && space < f->settings.disk_reserve)
        rc = error_set(&why, ERR_DISK_FULL, "the disk is nearly full");
    note(h, "disk", rc, &why);
}

static void look_at_vectors(struct flow *f, struct health *h)
{
    struct error why = {0};
    int rc = f->index.ops->health(f->index.state, &why);
    note(h, "vectors", rc, &why);
}

static void look_at_models(struct flow *f, struct health *h)
{
    struct error why = {0};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < f->model_count; i++) {
        const struct extractor *x = f->models[i].extractor;
        bool asked = i > 0 && x == f->models[i - 1].extractor; // models of one stand together
        rc = asked || !x->ops->health ? 0 : x->ops->health(x->state, &why);
    }
    note(h, "models", rc, &why);
}

static void look_at_steps(struct runner *runner, struct health *h)
{
    struct runner_step_health health[STEP_COUNT];
    runner_health(runner, health);
    for (int s = 0; s < STEP_COUNT; s++) {
        struct error why = {0};
        if (!health[s].name)
            continue;
        if (health[s].paused)
            error_set(&why, ERR_UNAVAILABLE, "paused: %s", health[s].reason);
        note(h, health[s].name, health[s].paused ? -1 : 0, &why);
    }
}

bool health_look(struct flow *f, struct runner *runner, health_fn *fn, void *arg)
{
    struct health h = {fn, arg, true};
    struct error why = {0};
    look_at_records(f, &h);
    look_at_disk(f, &h);
    look_at_vectors(f, &h);
    look_at_models(f, &h);
    if (f->relay) {
        int rc = relay_health(f->relay, NULL, &why);
        note(&h, "outbox", rc, &why);
    }
    if (f->replies) {
        int rc = replies_health(f->replies, &why);
        note(&h, "replies", rc, &why);
    }
    if (runner)
        look_at_steps(runner, &h);
    return h.well;
}
