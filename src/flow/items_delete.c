// SPDX-License-Identifier: Apache-2.0
// Many items deleted by a filter: a walk over the tenant's items, page by page; what the filter lets through of a page
// is marked and asked for in one transaction. One call walks a bounded way and says where to go on. There is nothing to
// resume: what was marked is deleted whatever happens to the rest, and is not met again.
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/js.h"
#include "flow/step.h"

enum { PAGE = 100, WALK = 20000, MOST = 2000, SAMPLE = 20 };

struct walk {
    struct flow *flow;
    const struct delete_query *query;
    struct media_query list;
    char before_id[ID_MAX];
    struct arena arena; // of the page, as what follows
    struct media *rows;
    size_t count;
    const struct media *matches[PAGE];
    size_t match_count;
    struct emit events[PAGE];
    size_t met, matched; // in all
    json_t *sample;
};

static int list_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct walk *w = arg;
    return w->flow->meta.ops->media_list(tx, &w->arena, &w->list, &w->rows, &w->count, err);
}

static bool passes(const struct filter *filter, const struct media *media) // NULL: all
{
    if (!filter)
        return true;
    struct term terms[TERMS_MAX];
    _cleanup_json_ json_t *payload = media_payload(media, NULL);
    return filter_match(filter, terms, terms_make(payload, terms, TERMS_MAX));
}

static int delete_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct walk *w = arg;
    for (size_t i = 0; i < w->match_count; i++) {
        struct error why = {0};
        if (item_delete_tx(w->flow, tx, &w->arena, w->query->tenant, w->matches[i]->id, &w->events[i], &why) < 0 &&
            why.code != ERR_NOT_FOUND) // somebody else was quicker
            return error_copy(err, &why);
    }
    return 0;
}

static int delete_matches(struct walk *w, struct error *err)
{
    struct flow *f = w->flow;
    if (!w->match_count || w->query->dry_run)
        return 0;
    for (size_t i = 0; i < w->match_count; i++)
        if (item_delete_event(f, &w->arena, w->query->tenant, w->matches[i]->id, &w->events[i], err) < 0)
            return -1;
    if (flow_check_outbox(f, err) < 0)
        return -1;
    return f->meta.ops->write(f->meta.state, META_SYNCED, delete_tx, w, err);
}

static void show(struct walk *w)
{
    for (size_t i = 0; i < w->match_count && json_array_size(w->sample) < SAMPLE; i++) {
        const struct media *m = w->matches[i];
        json_t *one = json_pack("{s:s,s:s}", strcmp(m->kind, "video") == 0 ? "videoId" : "imageId", m->id, "fileName",
                                m->file_name);
        js_set_time(one, "uploadedAt", m->uploaded_ms);
        json_array_append_new(w->sample, one);
    }
}

static int page(struct walk *w, struct error *err)
{
    w->match_count = 0;
    if (w->flow->meta.ops->read(w->flow->meta.state, list_tx, w, err) < 0)
        return -1;
    for (size_t i = 0; i < w->count; i++)
        if (passes(w->query->filter, &w->rows[i]))
            w->matches[w->match_count++] = &w->rows[i];
    if (delete_matches(w, err) < 0)
        return -1;
    show(w);
    w->met += w->count;
    w->matched += w->match_count;
    if (w->count) {
        w->list.before_ms = w->rows[w->count - 1].uploaded_ms;
        snprintf(w->before_id, sizeof w->before_id, "%s", w->rows[w->count - 1].id);
        w->list.before_id = w->before_id;
    }
    return 0;
}

static int read_cursor(struct walk *w, const char *text, struct error *err)
{
    long long ms;
    int used = 0;
    if (!text)
        return 0;
    if (sscanf(text, "%lld.%n", &ms, &used) != 1 || !used || ms <= 0 ||
        item_id(text + used, "img", w->before_id, NULL) < 0)
        return error_set(err, ERR_INVALID_CURSOR, "The cursor is not one that DeepLens gave");
    w->list.before_ms = ms;
    w->list.before_id = w->before_id;
    return 0;
}

static int go(struct walk *w, struct error *err)
{
    do {
        int rc = page(w, err);
        arena_free(&w->arena);
        if (rc < 0)
            return -1;
    } while (w->count == PAGE && w->met < WALK && (w->query->dry_run || w->matched < MOST));
    return 0;
}

int items_delete_all(struct flow *f, const char *tenant, size_t *matched, struct error *err)
{
    const struct delete_query query = {.tenant = tenant};
    struct walk w = {.flow = f, .query = &query, .list = {.tenant = tenant, .limit = PAGE}};
    w.sample = json_array();
    int rc = go(&w, err);
    json_decref(w.sample);
    if (rc == 0)
        *matched = w.matched;
    return rc;
}

int items_delete(struct flow *f, const struct delete_query *query, json_t **out, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct meta_tenant tenant;
    struct walk w = {.flow = f, .query = query};
    if (filter_is_empty(query->filter))
        return error_set(err, ERR_INVALID_FILTER, "An empty filter would delete everything: say what is to be deleted");
    if (flow_tenant(f, &arena, query->tenant, &tenant, err) < 0)
        return -1;
    w.list = (struct media_query){.tenant = query->tenant,
                                  .kind = query->kind,
                                  .to_ms = query->to_ms ? query->to_ms : clock_now_ms(),
                                  .limit = PAGE};
    if (read_cursor(&w, query->cursor, err) < 0)
        return -1;
    w.sample = json_array();
    if (go(&w, err) < 0) {
        json_decref(w.sample);
        return -1;
    }
    json_t *json = json_pack("{s:b,s:I,s:o,s:n}", "dryRun", query->dry_run, "matched", (json_int_t)w.matched, "sample",
                             w.sample, "nextCursor");
    js_set_time(json, "uploadedBefore", w.list.to_ms);
    if (w.count == PAGE)
        json_object_set_new(json, "nextCursor", json_sprintf("%lld.%s", (long long)w.list.before_ms, w.before_id));
    *out = json;
    return 0;
}
