// SPDX-License-Identifier: Apache-2.0
// How answers differ between two models: the same questions, asked of both collections.
//
// The questions are the newest items that have a vector under both. An item is left out of its own answer.
#include <stdlib.h>
#include <string.h>

#include "base/js.h"
#include "flow/rebuild.h"

struct answer {
    struct index_hit hits[COMPARE_TOP];
    size_t count;
};

struct sample {
    const struct media *media;
    struct answer before, after;
    double overlap;
};

struct comparison {
    struct flow *flow;
    struct arena arena;
    const char *tenant;
    const char *before, *after; // collections
    struct media *rows;
    size_t row_count, limit;
    struct sample *samples;
    size_t count;
    json_t *names; // id → file name, of what the examples show
};

static int list_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct comparison *c = arg;
    const struct media_query query = {
        .tenant = c->tenant, .by_status = true, .status = MEDIA_COMPLETED, .limit = c->limit};
    return c->flow->meta.ops->media_list(tx, &c->arena, &query, &c->rows, &c->row_count, err);
}

// 0 with `*there` false where the item has no vector.
static int ask(struct comparison *c, const char *collection, const char *id, struct answer *out, bool *there,
               struct error *err)
{
    const struct index *index = &c->flow->index;
    float *vector;
    size_t dimension, count;
    struct index_hit *hits;
    struct error why = {0};
    *there = false;
    if (index->ops->get(index->state, collection, id, &c->arena, &vector, &dimension, &why) < 0)
        return why.code == ERR_NOT_FOUND ? 0 : error_copy(err, &why);
    const struct index_query query = {.vector = vector, .k = COMPARE_TOP + 1, .min_score = -1, .accuracy = 1};
    if (index->ops->search(index->state, collection, &query, &c->arena, &hits, &count, err) < 0)
        return -1;
    out->count = 0;
    for (size_t i = 0; i < count && out->count < COMPARE_TOP; i++)
        if (strcmp(hits[i].id, id) != 0)
            out->hits[out->count++] = hits[i];
    *there = true;
    return 0;
}

static double overlap(const struct answer *a, const struct answer *b)
{
    size_t same = 0, most = a->count > b->count ? a->count : b->count;
    for (size_t i = 0; i < a->count; i++)
        for (size_t j = 0; j < b->count; j++)
            same += strcmp(a->hits[i].id, b->hits[j].id) == 0;
    return most ? (double)same / (double)most : 1;
}

static int ask_all(struct comparison *c, struct error *err)
{
    c->samples = arena_alloc(&c->arena, (c->row_count + 1) * sizeof *c->samples);
    for (size_t i = 0; i < c->row_count; i++) {
        struct sample *s = &c->samples[c->count];
        bool before, after;
        s->media = &c->rows[i];
        if (ask(c, c->before, s->media->id, &s->before, &before, err) < 0 ||
            ask(c, c->after, s->media->id, &s->after, &after, err) < 0)
            return -1;
        s->overlap = overlap(&s->before, &s->after);
        c->count += before && after;
    }
    return 0;
}

static int by_overlap(const void *a, const void *b)
{
    const struct sample *x = a, *y = b;
    return x->overlap < y->overlap ? -1 : x->overlap > y->overlap;
}

// --- The answer

static int name_hits(struct comparison *c, struct meta_tx *tx, const struct answer *answer, struct error *err)
{
    for (size_t i = 0; i < answer->count; i++) {
        struct media media;
        struct error why = {0};
        const char *id = answer->hits[i].id;
        if (c->flow->meta.ops->media_get(tx, &c->arena, c->tenant, id, &media, &why) == 0)
            js_set_str(c->names, id, media.file_name);
        else if (why.code != ERR_NOT_FOUND)
            return error_copy(err, &why);
    }
    return 0;
}

static int names_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct comparison *c = arg;
    for (size_t i = 0; i < c->count && i < COMPARE_EXAMPLES; i++)
        if (name_hits(c, tx, &c->samples[i].before, err) < 0 || name_hits(c, tx, &c->samples[i].after, err) < 0)
            return -1;
    return 0;
}

static json_t *hits_json(const struct comparison *c, const struct answer *answer)
{
    json_t *list = json_array();
    for (size_t i = 0; i < answer->count; i++) {
        json_t *hit = json_pack("{s:s,s:f}", "imageId", answer->hits[i].id, "score", (double)answer->hits[i].score);
        js_set_str(hit, "fileName", js_str(c->names, answer->hits[i].id, NULL));
        json_array_append_new(list, hit);
    }
    return list;
}

static json_t *report(const struct comparison *c, const char *from, const char *to)
{
    double sum = 0;
    json_t *examples = json_array();
    for (size_t i = 0; i < c->count; i++) {
        const struct sample *s = &c->samples[i];
        sum += s->overlap;
        if (i < COMPARE_EXAMPLES)
            json_array_append_new(examples, json_pack("{s:s,s:s,s:f,s:o,s:o}", "imageId", s->media->id, "fileName",
                                                      s->media->file_name, "overlap", s->overlap, "before",
                                                      hits_json(c, &s->before), "after", hits_json(c, &s->after)));
    }
    return json_pack("{s:s,s:s,s:I,s:f,s:o}", "from", from, "to", to, "samples", (json_int_t)c->count, "overlapAt10",
                     c->count ? sum / (double)c->count : 0, "examples", examples);
}

static int compare(struct comparison *c, const char *from, const char *to, json_t **out, struct error *err)
{
    struct flow *f = c->flow;
    struct meta_tenant tenant;
    if (!flow_model_name_valid(from) || !flow_model_name_valid(to))
        return error_set(err, ERR_MODEL_UNKNOWN, "`from` and `to` must be names of models");
    if (flow_tenant(f, &c->arena, c->tenant, &tenant, err) < 0)
        return -1;
    c->before = flow_collection(&c->arena, tenant.slug, from);
    c->after = flow_collection(&c->arena, tenant.slug, to);
    if (f->meta.ops->read(f->meta.state, list_tx, c, err) < 0 || ask_all(c, err) < 0)
        return -1;
    qsort(c->samples, c->count, sizeof *c->samples, by_overlap);
    c->names = json_object();
    int rc = f->meta.ops->read(f->meta.state, names_tx, c, err);
    if (rc == 0)
        *out = report(c, from, to);
    json_decref(c->names);
    return rc;
}

int rebuild_compare(struct flow *f, const char *tenant, const char *from, const char *to, size_t samples, json_t **out,
                    struct error *err)
{
    struct comparison c = {.flow = f, .tenant = tenant, .limit = samples};
    int rc = compare(&c, from, to, out, err);
    arena_free(&c.arena);
    return rc;
}
