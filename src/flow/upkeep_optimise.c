// SPDX-License-Identifier: Apache-2.0
// Task optimise: collections of vectors are compacted where enough of them is garbage, and the records do their
// housekeeping, a piece at a time. A run of one tenant leaves the records alone.
#include <string.h>

#include "flow/step.h"
#include "flow/upkeep.h"

static int collections(struct upkeep_work *w, const char ***names, size_t *count, struct error *err)
{
    struct flow *f = w->flow;
    return w->tenant ? flow_collections(f, w->arena, w->tenant, names, count, err)
                     : f->index.ops->list(f->index.state, w->arena, names, count, err);
}

static const char *next_collection(struct upkeep_work *w, const char *const *names, size_t count)
{
    const char *after = js_str(w->place, "collection", "");
    for (size_t i = 0; i < count; i++) // in the order of their names
        if (strcmp(names[i], after) > 0)
            return names[i];
    return NULL;
}

static int compact(struct upkeep_work *w, const char *name, struct error *err)
{
    const struct index *index = &w->flow->index;
    uint64_t freed = 0;
    if (index->ops->tidy(index->state, name, w->dry_run, &freed, err) < 0)
        return -1;
    upkeep_count(w, "collections", 1);
    if (freed) {
        upkeep_count(w, "collectionsCompacted", 1);
        upkeep_count(w, "indexBytesFreed", (int64_t)freed);
    }
    w->items++;
    json_object_set_new(w->place, "collection", json_string(name));
    return UPKEEP_MORE;
}

static int tidy_records(struct upkeep_work *w, struct error *err)
{
    const struct meta *meta = &w->flow->meta;
    int64_t piece = js_int(w->place, "piece", 0);
    uint64_t freed = 0;
    if (meta->ops->tidy(meta->state, w->dry_run, &piece, &freed, err) < 0)
        return -1;
    upkeep_count(w, "recordPieces", 1);
    upkeep_count(w, "recordBytesFreed", (int64_t)freed);
    w->items++;
    json_object_set_new(w->place, "piece", json_integer(piece));
    return piece < 0 ? UPKEEP_OVER : UPKEEP_MORE;
}

int upkeep_optimise(struct upkeep_work *w, struct error *err)
{
    const char **names = NULL;
    size_t count = 0;
    if (json_object_get(w->place, "piece"))
        return tidy_records(w, err);
    if (collections(w, &names, &count, err) < 0)
        return -1;
    const char *name = next_collection(w, names, count);
    if (name)
        return compact(w, name, err);
    return w->tenant ? UPKEEP_OVER : tidy_records(w, err);
}
