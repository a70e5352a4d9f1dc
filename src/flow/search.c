// SPDX-License-Identifier: Apache-2.0
// Search: query → (decode → extract) → index (with filter) → hydrate.
//
// The index answers with ids; what they are is read from the records, in one snapshot. An id without a visible record
// (just being deleted) is left out, and more is asked for, so that a page is full whenever there is enough to fill it.
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "flow/flow.h"
#include "media/image.h"

struct search {
    struct flow *flow;
    const struct search_query *query;
    const struct flow_model *model;
    const char *collection;
    const float *vector;
    char self[ID_MAX]; // left out of the answer; "" when the query is no item
    struct arena *arena;
};

static int vector_of_image(struct search *s, struct error *err)
{
    struct flow *f = s->flow;
    const struct flow_settings *settings = &f->settings;
    struct probe *probe = probe_new(&settings->limits);
    struct media_info info;
    int rc = probe_feed(probe, s->query->image, s->query->image_len, err);
    if (rc == 0)
        rc = probe_end(probe, &info, err);
    probe_free(probe);
    struct image_decoded image;
    if (rc < 0 || image_decode(s->query->image, s->query->image_len, settings->thumbnail_edge,
                               settings->limits.max_pixels, &image, err) < 0)
        return -1;
    float *vector = arena_alloc(s->arena, s->model->model->dimension * sizeof *vector);
    const struct extractor *x = s->model->extractor;
    rc = x->ops->extract(x->state, s->model->model, &image.pixels, 1, vector, err);
    pixels_free(&image.pixels);
    s->vector = vector;
    return rc;
}

static int vector_of_item(struct search *s, struct error *err)
{
    struct flow *f = s->flow;
    struct item item;
    if (item_get(f, s->arena, s->query->tenant, s->query->id, &item, err) < 0)
        return -1;
    float *vector;
    size_t dimension;
    struct error why = {0};
    if (f->index.ops->get(f->index.state, s->collection, item.media.id, s->arena, &vector, &dimension, &why) < 0)
        return why.code == ERR_NOT_FOUND ? error_set(err, ERR_NOT_READY, "Item %s has no vector under model %s (yet)",
                                                     item.media.id, s->model->model->name)
                                         : error_copy(err, &why);
    memcpy(s->self, item.media.id, strlen(item.media.id) + 1);
    s->vector = vector;
    return 0;
}

static int vector_given(struct search *s, struct error *err)
{
    size_t dimension = s->model->model->dimension;
    if (s->query->vector_len != dimension)
        return error_set(err, ERR_INVALID_VECTOR, "The vector has %zu numbers, model %s has %zu", s->query->vector_len,
                         s->model->model->name, dimension);
    double sum = 0;
    for (size_t i = 0; i < dimension; i++)
        sum += (double)s->query->vector[i] * s->query->vector[i];
    if (!isfinite(sum) || sum < 1e-12)
        return error_set(err, ERR_INVALID_VECTOR, "The vector must hold finite numbers that are not all zero");
    float *vector = arena_alloc(s->arena, dimension * sizeof *vector);
    for (size_t i = 0; i < dimension; i++)
        vector[i] = (float)(s->query->vector[i] / sqrt(sum));
    s->vector = vector;
    return 0;
}

static int make_vector(struct search *s, struct error *err)
{
    if (s->query->image)
        return vector_of_image(s, err);
    return s->query->id ? vector_of_item(s, err) : vector_given(s, err);
}

// --- From ids to items

struct hydrate_call {
    struct search *search;
    const struct index_hit *found;
    size_t found_count;
    size_t wanted;
    struct search_hit *hits;
    size_t count;
};

static int hydrate_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct hydrate_call *call = arg;
    struct search *s = call->search;
    call->count = 0;
    for (size_t i = 0; i < call->found_count && call->count < call->wanted; i++) {
        const struct index_hit *hit = &call->found[i];
        struct search_hit *to = &call->hits[call->count];
        struct error why = {0};
        if (strcmp(hit->id, s->self) == 0)
            continue;
        int rc = s->flow->meta.ops->media_get(tx, s->arena, s->query->tenant, hit->id, &to->media, &why);
        if (rc < 0 && why.code != ERR_NOT_FOUND)
            return error_copy(err, &why);
        if (rc < 0 || to->media.status == MEDIA_DELETING)
            continue;
        to->score = hit->score;
        call->count++;
    }
    return 0;
}

static int find(struct search *s, size_t wanted, struct search_hit **hits, size_t *count, struct error *err)
{
    struct flow *f = s->flow;
    for (size_t k = wanted + 1;; k *= 2) { // one more than wanted: the item itself may be among them
        struct index_query query = {.vector = s->vector,
                                    .k = k < 10000 ? k : 10000,
                                    .min_score = s->query->min_score,
                                    .filter = s->query->filter,
                                    .accuracy = 1};
        struct hydrate_call call = {.search = s, .wanted = wanted};
        struct index_hit *found;
        if (f->index.ops->search(f->index.state, s->collection, &query, s->arena, &found, &call.found_count, err) < 0)
            return -1;
        call.found = found;
        call.hits = arena_alloc(s->arena, (wanted + 1) * sizeof *call.hits);
        if (f->meta.ops->read(f->meta.state, hydrate_tx, &call, err) < 0)
            return -1;
        if (call.count == wanted || call.found_count < query.k || query.k == 10000) {
            *hits = call.hits;
            *count = call.count;
            return 0;
        }
    }
}

static int check_query(const struct flow *f, const struct search_query *query, struct error *err)
{
    int given = (query->image != NULL) + (query->id != NULL) + (query->vector != NULL);
    if (given != 1)
        return error_set(err, ERR_INVALID, "A search needs exactly one of: a file, `imageId`, `vector`");
    if (query->k > f->settings.search_max_k)
        return error_set(err, ERR_INVALID, "`topK` may be at most %zu", f->settings.search_max_k);
    if (query->offset > 9999 || query->offset + query->k > 9999)
        return error_set(err, ERR_INVALID_CURSOR, "A search reaches 9999 hits deep at most");
    return 0;
}

int search_run(struct flow *f, const struct search_query *query, struct arena *arena, struct search_result *out,
               struct error *err)
{
    int64_t start = clock_mono_us();
    struct search s = {.flow = f, .query = query, .arena = arena};
    struct meta_tenant tenant;
    if (check_query(f, query, err) < 0 || flow_tenant(f, arena, query->tenant, &tenant, err) < 0 ||
        flow_model_for(f, query->tenant, query->model, &s.model, err) < 0)
        return -1;
    s.collection = flow_collection(arena, tenant.slug, s.model->model->name);
    if (make_vector(&s, err) < 0)
        return -1;
    size_t k = query->k ? query->k : f->settings.search_k;
    struct search_hit *hits;
    size_t count;
    if (find(&s, query->offset + k + 1, &hits, &count, err) < 0) // one more: is there a next page?
        return -1;
    size_t from = query->offset < count ? query->offset : count;
    bool more = count > query->offset + k;
    *out = (struct search_result){.hits = hits + from,
                                  .count = more ? k : count - from,
                                  .more = more,
                                  .model = s.model->model->name,
                                  .took_us = clock_mono_us() - start};
    return 0;
}
