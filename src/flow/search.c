// SPDX-License-Identifier: Apache-2.0
// Search: query → (decode → extract) → index (with filter) → hydrate.
//
// A query is a sum: each text, picture, stored item and vector in it is brought to length 1 and weighed, all in the
// space of one model, and what they add up to is searched for. With texts that is a model that takes them; when it
// takes no pictures, pictures get their place among words (words.h).
//
// When all that is asked for is one picture, the nearest are looked at closer (closer.h), for altered copies of it.
//
// The index answers with ids; what they are is read from the records, in one snapshot. An id without a visible record
// (just being deleted) is left out, and more is asked for, so that a page is full whenever there is enough to fill it.
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "flow/closer.h"
#include "flow/flow.h"
#include "flow/rebuild.h"
#include "flow/words.h"
#include "media/image.h"

#define APPROXIMATE 0.9F // of a query's accuracy (ports/index.h)

struct search {
    struct flow *flow;
    const struct search_query *query;
    const struct flow_model *model;
    const char *collection;
    struct search_term terms[SEARCH_TERMS_MAX];
    size_t term_count;
    const float *vector;                  // what is searched for
    const char *selves[SEARCH_TERMS_MAX]; // items of the query, left out of the answer
    size_t self_count;
    struct closer *closer; // what a closer look is to look for; NULL: there is none
    struct arena *arena;
};

// Whether a closer look may be of use: what is asked for is one picture, not a mixture.
static bool wants_closer(const struct search *s)
{
    return s->flow->settings.search_closer && s->term_count == 1 && s->terms[0].weight > 0;
}

static size_t dimension_of(const struct search *s)
{
    return s->model->model->dimension;
}

static int decode(struct search *s, const struct search_term *term, struct image_decoded *out, struct error *err)
{
    const struct flow_settings *settings = &s->flow->settings;
    struct probe *probe = probe_new(&settings->limits);
    struct media_info info;
    int rc = probe_feed(probe, term->image, term->image_len, err);
    if (rc == 0)
        rc = probe_end(probe, &info, err);
    probe_free(probe);
    return rc < 0 ? -1
                  : image_decode(term->image, term->image_len, settings->thumbnail_edge, settings->limits.max_pixels,
                                 out, err);
}

static int vector_of_image(struct search *s, const struct search_term *term, float *vector, struct error *err)
{
    struct image_decoded image;
    if (decode(s, term, &image, err) < 0)
        return -1;
    const struct extractor *x = s->model->extractor;
    int rc = s->model->model->only_texts
                 ? words_of_picture(s->flow, &image.pixels, vector, err)
                 : x->ops->extract(x->state, s->model->model, &image.pixels, 1, vector, NULL, err);
    if (rc == 0 && wants_closer(s)) {
        s->closer = arena_alloc(s->arena, sizeof *s->closer);
        rc = closer_of_picture(&image.pixels, s->closer, err);
    }
    pixels_free(&image.pixels);
    return rc;
}

static int vector_of_text(struct search *s, const struct search_term *term, float *vector, struct error *err)
{
    const struct extractor *x = s->model->extractor;
    if (!*term->text)
        return error_set(err, ERR_INVALID, "`text` is empty");
    return x->ops->embed(x->state, s->model->model, &term->text, 1, vector, err);
}

static int vector_of_item(struct search *s, const struct search_term *term, float *vector, struct error *err)
{
    struct flow *f = s->flow;
    struct item item;
    if (item_get(f, s->arena, s->query->tenant, term->id, &item, err) < 0)
        return -1;
    float *found;
    size_t dimension;
    struct error why = {0};
    if (f->index.ops->get(f->index.state, s->collection, item.media.id, s->arena, &found, &dimension, &why) < 0)
        return why.code == ERR_NOT_FOUND ? error_set(err, ERR_NOT_READY, "Item %s has no vector under model %s (yet)",
                                                     item.media.id, s->model->model->name)
                                         : error_copy(err, &why);
    if (dimension != dimension_of(s))
        return error_set(err, ERR_CONFLICT, "The vector of item %s has %zu dimensions, model %s has %zu", item.media.id,
                         dimension, s->model->model->name, dimension_of(s));
    memcpy(vector, found, dimension_of(s) * sizeof *vector);
    s->selves[s->self_count++] = item.media.id;
    if (!wants_closer(s))
        return 0;
    struct closer *closer = arena_alloc(s->arena, sizeof *closer);
    bool has_details;
    if (closer_of_item(f, s->arena, s->query->tenant, item.media.id, closer, &has_details, err) < 0)
        return -1;
    s->closer = has_details ? closer : NULL;
    return 0;
}

static int unit_vector(const float *in, size_t dimension, float *out)
{
    double sum = 0;
    for (size_t i = 0; i < dimension; i++)
        sum += (double)in[i] * in[i];
    if (!isfinite(sum) || sum < 1e-12)
        return -1;
    for (size_t i = 0; i < dimension; i++)
        out[i] = (float)(in[i] / sqrt(sum));
    return 0;
}

static int vector_given(struct search *s, const struct search_term *term, float *vector, struct error *err)
{
    size_t dimension = dimension_of(s);
    if (term->vector_len != dimension)
        return error_set(err, ERR_INVALID_VECTOR, "The vector has %zu numbers, model %s has %zu", term->vector_len,
                         s->model->model->name, dimension);
    if (unit_vector(term->vector, dimension, vector) < 0)
        return error_set(err, ERR_INVALID_VECTOR, "The vector must hold finite numbers that are not all zero");
    return 0;
}

static int vector_of(struct search *s, const struct search_term *term, float *vector, struct error *err)
{
    if (term->text)
        return vector_of_text(s, term, vector, err);
    if (term->image)
        return vector_of_image(s, term, vector, err);
    return term->id ? vector_of_item(s, term, vector, err) : vector_given(s, term, vector, err);
}

static int make_vector(struct search *s, struct error *err)
{
    size_t dimension = dimension_of(s);
    float *sum = arena_alloc(s->arena, dimension * sizeof *sum), *one = arena_alloc(s->arena, dimension * sizeof *one);
    s->vector = sum;
    if (s->term_count == 1 && s->terms[0].weight > 0)
        return vector_of(s, &s->terms[0], sum, err);
    for (size_t i = 0; i < s->term_count; i++) {
        if (vector_of(s, &s->terms[i], one, err) < 0)
            return -1;
        for (size_t j = 0; j < dimension; j++)
            sum[j] += s->terms[i].weight * one[j];
    }
    if (unit_vector(sum, dimension, sum) < 0)
        return error_set(err, ERR_INVALID, "The parts of the query take each other away: nothing is left of it");
    return 0;
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

static bool is_self(const struct search *s, const char *id)
{
    for (size_t i = 0; i < s->self_count; i++)
        if (strcmp(id, s->selves[i]) == 0)
            return true;
    return false;
}

// 1 when the item is there for readers, 0 when not.
static int look_up(struct search *s, struct meta_tx *tx, const char *id, struct media *out, struct error *err)
{
    struct error why = {0};
    if (s->flow->meta.ops->media_get(tx, s->arena, s->query->tenant, id, out, &why) == 0)
        return out->status != MEDIA_DELETING;
    return why.code == ERR_NOT_FOUND ? 0 : error_copy(err, &why);
}

static struct search_hit *hit_of(struct hydrate_call *call, const char *id)
{
    for (size_t i = 0; i < call->count; i++)
        if (strcmp(call->hits[i].media.id, id) == 0)
            return &call->hits[i];
    return NULL;
}

// One hit a video: the frame becomes a moment of it. Hits come the best first, and so do moments.
static int add_moment(struct hydrate_call *call, struct meta_tx *tx, const struct media *frame, float score,
                      struct error *err)
{
    struct search *s = call->search;
    struct search_hit *hit = hit_of(call, frame->parent);
    if (!hit) {
        if (call->count == call->wanted)
            return 0;
        struct search_hit made = {.score = score};
        int there = look_up(s, tx, frame->parent, &made.media, err);
        if (there <= 0)
            return there;
        hit = &call->hits[call->count++];
        *hit = made;
    }
    if (!hit->moments)
        hit->moments = arena_alloc(s->arena, SEARCH_MOMENTS_MAX * sizeof *hit->moments);
    if (hit->moment_count < SEARCH_MOMENTS_MAX)
        hit->moments[hit->moment_count++] = (struct search_moment){
            .frame = frame->id, .time_ms = frame->time_ms, .score = score, .shown = frame->thumb_key != NULL};
    return 0;
}

// All that was found is looked at, also when there are hits enough: a video's other moments are among the rest.
static int hydrate_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct hydrate_call *call = arg;
    struct search *s = call->search;
    call->count = 0;
    for (size_t i = 0; i < call->found_count; i++) {
        const struct index_hit *hit = &call->found[i];
        struct media media;
        bool frame = strncmp(hit->id, "frm_", 4) == 0;
        if (is_self(s, hit->id) || (call->count == call->wanted && !frame))
            continue;
        int there = look_up(s, tx, hit->id, &media, err);
        if (there < 0 || (there && media.parent && add_moment(call, tx, &media, hit->score, err) < 0))
            return -1;
        if (there && !media.parent)
            call->hits[call->count++] = (struct search_hit){.media = media, .score = hit->score};
    }
    return 0;
}

// The nearest. With a closer look, `min_score` is asked of what comes out of it.
static int find_nearest(struct search *s, size_t k, struct index_hit **out, size_t *count, struct error *err)
{
    struct flow *f = s->flow;
    size_t closer = s->closer ? f->settings.search_closer : 0;
    const struct index_query query = {.vector = s->vector,
                                      .dimension = dimension_of(s),
                                      .k = k > closer ? k : closer,
                                      .min_score = s->closer ? -1 : s->query->min_score,
                                      .filter = s->query->filter,
                                      .accuracy = f->settings.search_approximate ? APPROXIMATE : 1};
    struct index_hit *found;
    size_t n;
    if (f->index.ops->search(f->index.state, s->collection, &query, s->arena, &found, &n, err) < 0)
        return -1;
    if (s->closer && closer_look(f, s->arena, s->query->tenant, s->closer, found, n < closer ? n : closer, err) < 0)
        return -1;
    while (n && found[n - 1].score < s->query->min_score)
        n--;
    *out = found;
    *count = n;
    return 0;
}

static int find(struct search *s, size_t wanted, struct search_hit **hits, size_t *count, struct error *err)
{
    struct flow *f = s->flow;
    for (size_t k = wanted + 1 + s->self_count;; k *= 2) { // the items of the query may be among them
        struct hydrate_call call = {.search = s, .wanted = wanted};
        struct index_hit *found;
        k = k < 10000 ? k : 10000;
        if (find_nearest(s, k, &found, &call.found_count, err) < 0)
            return -1;
        call.found = found;
        call.hits = arena_alloc(s->arena, (wanted + 1) * sizeof *call.hits);
        if (f->meta.ops->read(f->meta.state, hydrate_tx, &call, err) < 0)
            return -1;
        if (call.count == wanted || call.found_count < k || k == 10000) {
            *hits = call.hits;
            *count = call.count;
            return 0;
        }
    }
}

// --- Reading the query

static void add_term(struct search *s, struct search_term term)
{
    if (term.text || term.image || term.id || term.vector)
        s->terms[s->term_count++] = term;
}

static int read_terms(struct search *s, struct error *err)
{
    const struct search_query *q = s->query;
    if (q->term_count > SEARCH_TERMS_MAX - 4)
        return error_set(err, ERR_INVALID, "`terms` takes at most %d", SEARCH_TERMS_MAX - 4);
    add_term(s, (struct search_term){.text = q->text, .weight = 1});
    add_term(s, (struct search_term){.image = q->image, .image_len = q->image_len, .weight = 1});
    add_term(s, (struct search_term){.id = q->id, .weight = 1});
    add_term(s, (struct search_term){.vector = q->vector, .vector_len = q->vector_len, .weight = 1});
    for (size_t i = 0; i < q->term_count; i++)
        add_term(s, q->terms[i]);
    if (!s->term_count)
        return error_set(err, ERR_INVALID,
                         "A search needs something to search for: a file, `text`, `imageId`, `vector` or `terms`");
    return 0;
}

static int check_query(const struct flow *f, const struct search_query *query, struct error *err)
{
    if (query->k > f->settings.search_max_k)
        return error_set(err, ERR_INVALID, "`topK` may be at most %zu", f->settings.search_max_k);
    if (query->offset > 9999 || query->offset + query->k > 9999)
        return error_set(err, ERR_INVALID_CURSOR, "A search reaches 9999 hits deep at most");
    return 0;
}

static int choose_model(struct search *s, struct error *err)
{
    const struct search_query *q = s->query;
    bool texts = false;
    for (size_t i = 0; i < s->term_count; i++)
        texts |= s->terms[i].text != NULL;
    return texts ? words_model_for(s->flow, q->tenant, q->model, &s->model, err)
                 : flow_model_for(s->flow, q->tenant, q->model, &s->model, err);
}

int search_run(struct flow *f, const struct search_query *query, struct arena *arena, struct search_result *out,
               struct error *err)
{
    int64_t start = clock_mono_us();
    struct search s = {.flow = f, .query = query, .arena = arena};
    struct meta_tenant tenant;
    if (check_query(f, query, err) < 0 || read_terms(&s, err) < 0 ||
        flow_tenant(f, arena, query->tenant, &tenant, err) < 0 || choose_model(&s, err) < 0)
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
    rebuild_saw_search(f, out->took_us);
    return 0;
}
