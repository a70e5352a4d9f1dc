// SPDX-License-Identifier: Apache-2.0
// Task thumbnails: thumbnails of pictures made again when their recipe (edge, quality, how they are made) is another
// one than before. The recipe that all are made by is remembered; a run that finds the same one has nothing to do,
// unless it is a whole one or one tenant's. What comes in meanwhile is made by the recipe of its process.
//
// Where nothing is remembered, what is there is taken to be by the recipe of now. A run under which the recipe changes
// begins anew. Posters of videos are pictures of their frames, and stay.
//
// A picture that processes die of is passed over, and told.
#include <string.h>

#include "flow/step.h"
#include "flow/upkeep.h"

enum { METHOD = 1 }; // to be counted up when image_thumbnail makes others of the same pictures

#define RECIPE "recipe"

static const char *recipe_of_now(const struct upkeep_work *w)
{
    const struct flow_settings *s = &w->flow->settings;
    return arena_printf(w->arena, "%d/%d/%d", METHOD, s->thumbnail_edge, s->thumbnail_quality);
}

static void remember(struct upkeep_work *w, const char *recipe)
{
    json_t *kept = json_pack("{s:s}", RECIPE, recipe);
    json_decref(w->kept);
    w->kept = kept;
}

// --- One item

// An item whose deletion began after this look has its file removed by that; one before leaves it to us.
static int clean_up(struct upkeep_work *w, const struct media *media, struct error *err)
{
    struct flow *f = w->flow;
    struct media now;
    bool there;
    if (upkeep_look(w, media, &now, &there, err) < 0)
        return -1;
    return there ? 0 : f->blob.ops->remove(f->blob.state, media->thumb_key, err);
}

static void tell(struct upkeep_work *w, const struct media *media, const char *message)
{
    upkeep_count(w, "failed", 1);
    upkeep_found(w, json_pack("{s:s,s:s,s:s,s:s}", "problem", "thumbnail cannot be made", "tenantId", media->tenant,
                              "itemId", media->id, "details", message));
}

static int make_one(struct upkeep_work *w, const struct media *media, struct error *err)
{
    struct error why = {0};
    if (w->deaths + 1 >= UPKEEP_DEATHS) {
        tell(w, media, "Processes died while working on it");
        return 0;
    }
    if (!w->dry_run && thumbnail_make(w->flow, media, media->thumb_key, &why) < 0) {
        if (why.outage || why.code == ERR_NO_MEMORY)
            return error_copy(err, &why);
        tell(w, media, why.message);
        return 0;
    }
    upkeep_count(w, "made", 1);
    return w->dry_run ? 0 : clean_up(w, media, err);
}

static bool has_thumbnail(struct upkeep_work *w, const struct media *media)
{
    return strcmp(media->kind, "image") == 0 && media->thumb_key &&
           strcmp(media->thumb_key, flow_thumb_key(w->arena, media->tenant, media->id)) == 0;
}

// --- A page

// The next page of the walk; nothing is changed but the place.
static int work_page(struct upkeep_work *w, bool *over, struct error *err)
{
    struct upkeep_items found;
    if (upkeep_items_next(w, false, &found, over, err) < 0)
        return -1;
    for (size_t i = 0; i < found.count; i++) {
        if (!upkeep_wanted(w))
            return UPKEEP_CUT;
        if (has_thumbnail(w, &found.rows[i]) && make_one(w, &found.rows[i], err) < 0)
            return -1;
        w->items++;
    }
    upkeep_count(w, "items", (int64_t)found.count);
    return 0;
}

int upkeep_thumbnails(struct upkeep_work *w, struct error *err)
{
    const char *now = recipe_of_now(w), *before = js_str(w->kept, RECIPE, NULL);
    bool over = false, all = !w->tenant && !w->dry_run;
    if (strcmp(js_str(w->place, RECIPE, ""), now) != 0) { // it begins, or the recipe changed under it
        json_object_clear(w->place);
        json_object_set_new(w->place, RECIPE, json_string(now));
        if (!w->tenant && !w->whole && (!before || strcmp(before, now) == 0)) {
            if (!before && all)
                remember(w, now);
            return UPKEEP_OVER;
        }
    }
    int rc = work_page(w, &over, err);
    if (rc != 0)
        return rc;
    if (over && all)
        remember(w, now);
    return over ? UPKEEP_OVER : UPKEEP_MORE;
}
