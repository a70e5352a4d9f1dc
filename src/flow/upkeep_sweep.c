// SPDX-License-Identifier: Apache-2.0
// Task sweep: what is left of one kind without its others, in both directions.
//
//   files     originals, thumbnails and pictures of frames without an item: a kill between the moment when a file is
//             durable and the moment when its row is leaves such (upload.c). Removed, unless it is a dry run. Files
//             with other names than ours stay.
//   vectors   without an item: where an index on a server was given up on (it was silent, say) it may do later what it
//             was asked, when the item is gone. Removed as well. No age matters: what has no row never gets one.
//   items     without their original: told. Completed ones whose steps say that their vector under the tenant's default
//             model is there, and it is not: it is asked for again. See upkeep_items.c.
//
// What is at work is never touched: a file is looked at when it was last written before this process began AND is older
// than the grace period, or is a day old, when no upload's row is to come any more. File systems round times down,
// hence MARGIN_MS. Clocks are set back now and then: the start is reckoned back from now, so that it is never too late.
//
// Files come in the order of their keys, and the place is behind the last one looked at. The ids of a collection come
// in none: cut, the walk through it begins anew.
#include <string.h>

#include "base/clock.h"
#include "flow/step.h"
#include "flow/upkeep.h"
#include "obs/metrics.h"

enum { PAGE = 64, MARGIN_MS = 2000, DAY_MS = 24 * 3600 * 1000 };

struct found { // a file that is old enough, or a vector; texts live as long as the page
    const char *tenant, *id;
    const char *key;        // of the file
    const char *collection; // of the vector; NULL: it is a file
    bool orphan;
};

struct sweep {
    struct upkeep_work *work;
    struct arena arena; // the page's
    struct found page[PAGE];
    size_t count, seen;
    const char *after;               // files up to this key were looked at before
    char last[BLOB_KEY_MAX + 1];     // … and this one now
    const char *tenant, *collection; // of the vectors
    bool removed;
    struct error *err;
};

// --- Files of ours

static bool is_old(const struct upkeep_work *w, int64_t modified_ms)
{
    int64_t age_ms = clock_now_ms() - modified_ms;
    if (age_ms < w->flow->settings.upkeep.sweep_grace_ms)
        return false;
    return age_ms > DAY_MS || modified_ms < upkeep_born_ms(w) - MARGIN_MS;
}

// Folders of ours below "tenant-NAME/", and what the ids of files in them begin with.
static const struct {
    const char *folder, *prefixes[2];
} ours[] = {{"/images/", {"img"}},  {"/thumbnails/", {"img", "vid"}}, {"/videos/", {"vid"}}, {"/frames/", {"frm"}},
            {"/posters/", {"vid"}}, {"/previews/", {"vid"}},          {"/sprites/", {"vid"}}};

static bool is_ours(const char *path, const char *stem)
{
    char id[ID_MAX];
    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        for (int p = 0; p < 2 && ours[i].prefixes[p]; p++)
            if (strncmp(path, ours[i].folder, strlen(ours[i].folder)) == 0 &&
                id_parse(ours[i].prefixes[p], stem, id) == 0 && strcmp(stem, id) == 0)
                return true;
    return false;
}

// "tenant-NAME/images/…/ID.EXT" and the like; false for all else.
static bool parse_key(struct arena *arena, const char *key, struct found *out)
{
    static const char prefix[] = "tenant-";
    const char *name = key + sizeof prefix - 1, *leaf = strrchr(key, '/');
    if (strncmp(key, prefix, sizeof prefix - 1) != 0)
        return false;
    const char *kind = strchr(name, '/');
    char stem[ID_MAX];
    if (!kind)
        return false;
    size_t len = strcspn(++leaf, ".");
    if (len >= sizeof stem)
        return false;
    memcpy(stem, leaf, len);
    stem[len] = 0;
    if (!is_ours(kind, stem))
        return false;
    *out = (struct found){.key = arena_strdup(arena, key),
                          .tenant = arena_printf(arena, "%.*s", (int)(kind - name), name),
                          .id = arena_strdup(arena, stem)};
    return true;
}

// --- A page of files or vectors

static int find_orphans(struct meta_tx *tx, void *arg, struct error *err)
{
    struct sweep *s = arg;
    for (size_t i = 0; i < s->count; i++) {
        struct found *one = &s->page[i];
        struct media media;
        struct error why = {0};
        one->orphan = s->work->flow->meta.ops->media_get(tx, &s->arena, one->tenant, one->id, &media, &why) < 0;
        if (one->orphan && why.code != ERR_NOT_FOUND)
            return error_copy(err, &why);
    }
    return 0;
}

static int remove_orphan(struct sweep *s, const struct found *orphan)
{
    struct upkeep_work *w = s->work;
    struct flow *f = w->flow;
    const char *const removed = orphan->collection ? "vectorsRemoved" : "filesRemoved";
    int rc = orphan->collection ? f->index.ops->remove(f->index.state, orphan->collection, &orphan->id, 1, NULL, s->err)
                                : f->blob.ops->remove(f->blob.state, orphan->key, s->err);
    if (rc < 0)
        return -1;
    metric_add(M_ORPHANS_REMOVED, NULL, 1);
    upkeep_count(w, removed, 1);
    s->removed = true;
    return 0;
}

static int handle_orphan(struct sweep *s, const struct found *orphan)
{
    struct upkeep_work *w = s->work;
    const char *kind = orphan->collection ? "vector" : "file";
    upkeep_count(w, orphan->collection ? "vectorsWithoutItem" : "filesWithoutItem", 1);
    upkeep_found(w, json_pack("{s:s,s:s,s:s,s:s*}", "problem",
                              orphan->collection ? "vector without an item" : "file without an item", "tenantId",
                              orphan->tenant, "itemId", orphan->id, kind,
                              orphan->collection ? orphan->collection : orphan->key));
    return w->dry_run ? 0 : remove_orphan(s, orphan);
}

static int look_at_page(struct sweep *s)
{
    struct upkeep_work *w = s->work;
    struct flow *f = w->flow;
    if (s->count && f->meta.ops->read(f->meta.state, find_orphans, s, s->err) < 0)
        return -1;
    for (size_t i = 0; i < s->count; i++)
        if (s->page[i].orphan && handle_orphan(s, &s->page[i]) < 0)
            return -1;
    upkeep_count(w, s->collection ? "vectors" : "files", (int64_t)s->count);
    w->items += s->count;
    s->count = 0;
    arena_free(&s->arena);
    return 0;
}

// --- Files

static int end_files_page(struct sweep *s)
{
    if (look_at_page(s) < 0)
        return -1;
    json_object_set_new(s->work->place, "after", json_string(s->last));
    return upkeep_turn(s->work, s->err);
}

static int look_at_file(void *arg, const char *key, const struct blob_info *info)
{
    struct sweep *s = arg;
    if (++s->seen % PAGE == 0 && !upkeep_wanted(s->work)) // also on the way to the place
        return UPKEEP_CUT;
    if (strcmp(key, s->after) <= 0)
        return 0;
    memcpy(s->last, key, strlen(key) + 1); // keys have a bound
    if (!is_old(s->work, info->modified_ms) || !parse_key(&s->arena, key, &s->page[s->count]))
        return 0;
    return ++s->count == s->work->limit ? end_files_page(s) : 0;
}

static int walk_files(struct upkeep_work *w, struct error *err)
{
    struct flow *f = w->flow;
    struct sweep s = {.work = w, .err = err};
    s.after = arena_strdup(w->arena, js_str(w->place, "after", ""));
    const char *prefix = w->tenant ? arena_printf(w->arena, "tenant-%s/", w->tenant) : "tenant-";
    int rc = f->blob.ops->list(f->blob.state, prefix, look_at_file, &s, err);
    if (rc == 0)
        rc = look_at_page(&s);
    arena_free(&s.arena);
    return rc;
}

// --- Vectors

static int look_at_vector(void *arg, const char *id)
{
    struct sweep *s = arg;
    s->page[s->count] =
        (struct found){.tenant = s->tenant, .id = arena_strdup(&s->arena, id), .collection = s->collection};
    if (++s->count < s->work->limit)
        return 0;
    if (look_at_page(s) < 0)
        return -1;
    return upkeep_pace(s->work) ? 0 : UPKEEP_CUT;
}

static int walk_collection(struct upkeep_work *w, const char *tenant, const char *collection, struct error *err)
{
    const struct index *index = &w->flow->index;
    struct sweep s = {.work = w, .err = err, .tenant = tenant, .collection = collection};
    int rc = index->ops->list_ids(index->state, collection, look_at_vector, &s, err);
    if (rc == 0)
        rc = look_at_page(&s);
    if (rc == 0 && s.removed)
        rc = index->ops->flush(index->state, collection, err);
    arena_free(&s.arena);
    return rc;
}

struct tenants_call {
    struct upkeep_work *work;
    struct meta_tenant *tenants;
    size_t count;
};

static int read_tenants(struct meta_tx *tx, void *arg, struct error *err)
{
    struct tenants_call *call = arg;
    return call->work->flow->meta.ops->tenant_list(tx, call->work->arena, &call->tenants, &call->count, err);
}

// The first collection behind `after` of tenants from the place's on; NULL: there is none.
static int next_collection(struct upkeep_work *w, const char **tenant, const char **collection, struct error *err)
{
    struct flow *f = w->flow;
    struct tenants_call call = {.work = w};
    const char *from = js_str(w->place, "tenant", ""), *after = js_str(w->place, "collection", "");
    *collection = NULL;
    if (f->meta.ops->read(f->meta.state, read_tenants, &call, err) < 0)
        return -1;
    for (size_t t = 0; t < call.count && !*collection; t++) { // by name
        const char *name = call.tenants[t].name, **names;
        size_t count;
        if ((w->tenant && strcmp(name, w->tenant) != 0) || strcmp(name, from) < 0)
            continue;
        if (flow_collections(f, w->arena, name, &names, &count, err) < 0)
            return -1;
        for (size_t i = 0; i < count && !*collection; i++) // by name, too
            if (strcmp(name, from) > 0 || strcmp(names[i], after) > 0) {
                *tenant = name;
                *collection = names[i];
            }
    }
    return 0;
}

static int walk_vectors(struct upkeep_work *w, struct error *err)
{
    const char *tenant = NULL, *collection = NULL;
    if (next_collection(w, &tenant, &collection, err) < 0)
        return -1;
    if (!collection)
        return UPKEEP_OVER;
    int rc = walk_collection(w, tenant, collection, err);
    if (rc != 0)
        return rc;
    json_object_set_new(w->place, "tenant", json_string(tenant));
    json_object_set_new(w->place, "collection", json_string(collection));
    return UPKEEP_MORE;
}

// --- The phases

static const struct {
    const char *name;
    upkeep_page_fn *page; // UPKEEP_OVER: the next phase
} phases[] = {{"files", walk_files}, {"vectors", walk_vectors}, {"items", upkeep_sweep_items}};

int upkeep_sweep(struct upkeep_work *w, struct error *err)
{
    const char *name = js_str(w->place, "phase", phases[0].name);
    size_t at = 0;
    while (at + 1 < ARRAY_LEN(phases) && strcmp(phases[at].name, name) != 0)
        at++;
    int rc = phases[at].page(w, err);
    if (rc != UPKEEP_OVER || ++at == ARRAY_LEN(phases))
        return rc;
    json_object_clear(w->place);
    json_object_set_new(w->place, "phase", json_string(phases[at].name));
    return UPKEEP_MORE;
}
