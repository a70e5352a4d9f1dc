// SPDX-License-Identifier: Apache-2.0
// Task sweep, its last part: items without what they should have. An original that is not there is told, as nobody can
// make it anew. A vector that the steps tell of and the index has not (a collection that was lost, say) is asked for
// again, unless it is a dry run: the request takes the way of all others, with low priority. Items whose last step is
// younger than the grace period are left alone.
#include <string.h>

#include "base/clock.h"
#include "flow/near.h"
#include "flow/step.h"
#include "flow/upkeep.h"

struct check { // of one item; texts in the page's arena
    struct upkeep_work *work;
    const struct media *media;
    const struct flow_model *model; // the tenant's default; NULL: it is away
    const char *collection;
    bool there;   // and not being deleted
    bool indexed; // say its steps
    struct emit emit;
};

static int look_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct check *c = arg;
    const struct meta_ops *meta = c->work->flow->meta.ops;
    struct media now;
    struct media_step *rows;
    size_t count;
    struct error why = {0};
    c->there = c->indexed = false;
    if (meta->media_get(tx, c->work->arena, c->media->tenant, c->media->id, &now, &why) < 0)
        return why.code == ERR_NOT_FOUND ? 0 : error_copy(err, &why);
    c->there = now.status != MEDIA_DELETING && !near_rejected(&now);
    if (meta->step_list(tx, c->work->arena, now.tenant, now.id, &rows, &count, err) < 0)
        return -1;
    for (size_t i = 0; i < count && c->model; i++)
        c->indexed |= strcmp(rows[i].step, "vector_indexing") == 0 && strcmp(rows[i].status, "completed") == 0 &&
                      strcmp(rows[i].model, c->model->model->name) == 0;
    return 0;
}

static int look(struct check *c, struct error *err)
{
    struct flow *f = c->work->flow;
    return f->meta.ops->read(f->meta.state, look_tx, c, err);
}

static void tell(const struct check *c, const char *problem, const char *count)
{
    upkeep_count(c->work, count, 1);
    upkeep_found(c->work,
                 json_pack("{s:s,s:s,s:s}", "problem", problem, "tenantId", c->media->tenant, "itemId", c->media->id));
}

// --- Its original

static int check_original(struct check *c, struct error *err)
{
    const struct blob *blob = &c->work->flow->blob;
    struct blob_info info;
    struct error why = {0};
    if (blob->ops->head(blob->state, c->media->blob_key, &info, &why) == 0)
        return 0;
    if (why.code != ERR_NOT_FOUND)
        return error_copy(err, &why);
    if (look(c, err) < 0)
        return -1;
    if (c->there)
        tell(c, "item without its original", "itemsWithoutOriginal");
    return 0;
}

// --- Its vector

static int ask_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct check *c = arg;
    struct flow *f = c->work->flow;
    struct error why = {0};
    if (media_request(f, tx, c->media, c->model->model->name, &why) < 0)
        return why.code == ERR_NOT_FOUND ? 0 : error_copy(err, &why); // it is gone
    return flow_publish_tx(f, tx, &c->emit, err);
}

static int ask_again(struct check *c, struct error *err)
{
    struct flow *f = c->work->flow;
    if (extraction_request(f, c->work->arena, c->media, c->model, &c->emit, err) < 0 || flow_check_outbox(f, err) < 0 ||
        f->meta.ops->write(f->meta.state, META_RELAXED, ask_tx, c, err) < 0)
        return -1;
    upkeep_count(c->work, "vectorsAskedFor", 1);
    return 0;
}

static int has_vector(const struct check *c, bool *out, struct error *err)
{
    const struct index *index = &c->work->flow->index;
    float *vector;
    size_t dimension;
    struct error why = {0};
    int rc = index->ops->get(index->state, c->collection, c->media->id, c->work->arena, &vector, &dimension, &why);
    if (rc < 0 && why.code != ERR_NOT_FOUND)
        return error_copy(err, &why);
    *out = rc == 0;
    return 0;
}

// The steps are looked at behind the index: a rebuild may be at work on it.
static int check_vector(struct check *c, struct error *err)
{
    bool has = false;
    if (has_vector(c, &has, err) < 0)
        return -1;
    if (has)
        return 0;
    if (look(c, err) < 0)
        return -1;
    if (!c->there || !c->indexed)
        return 0;
    tell(c, "item without its vector", "itemsWithoutVector");
    return c->work->dry_run ? 0 : ask_again(c, err);
}

// --- A page

static int check_item(struct upkeep_work *w, const struct media *media, struct error *err)
{
    struct meta_tenant tenant;
    struct check c = {.work = w, .media = media};
    if (near_rejected(media) || clock_now_ms() - media->updated_ms < w->flow->settings.upkeep.sweep_grace_ms)
        return 0;
    struct error why = {0};
    if (flow_tenant(w->flow, w->arena, media->tenant, &tenant, &why) < 0)
        return why.code == ERR_TENANT_UNKNOWN ? 0 : error_copy(err, &why); // it was removed meanwhile
    if (flow_model_for(w->flow, media->tenant, NULL, &c.model, &why) < 0 && why.code != ERR_MODEL_UNKNOWN)
        return error_copy(err, &why);
    if (check_original(&c, err) < 0)
        return -1;
    if (!c.model || media->status != MEDIA_COMPLETED || strcmp(media->kind, "video") == 0)
        return 0;
    c.collection = flow_collection(w->arena, tenant.slug, c.model->model->name);
    return check_vector(&c, err);
}

int upkeep_sweep_items(struct upkeep_work *w, struct error *err)
{
    struct upkeep_items found;
    bool over;
    if (upkeep_items_next(w, true, &found, &over, err) < 0)
        return -1;
    for (size_t i = 0; i < found.count; i++) {
        if (!upkeep_wanted(w))
            return UPKEEP_CUT;
        if (check_item(w, &found.rows[i], err) < 0)
            return -1;
        upkeep_count(w, "items", 1);
        w->items++;
    }
    return over ? UPKEEP_OVER : UPKEEP_MORE;
}
