// SPDX-License-Identifier: Apache-2.0
// See closer.h.
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "flow/closer.h"

struct get_call {
    struct flow *flow;
    struct arena *arena;
    const char *tenant;
    const char **ids;
    size_t count;
    struct meta_details *rows;
};

static int get_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct get_call *c = arg;
    return c->flow->meta.ops->details_get(tx, c->arena, c->tenant, c->ids, c->count, &c->rows, err);
}

int closer_of_picture(const struct pixels *picture, struct closer *out, struct error *err)
{
    if (details_find(picture, DETAILS_ASKED, &out->plain, err) < 0)
        return -1;
    details_mirror(&out->plain, &out->mirrored);
    return 0;
}

int closer_of_item(struct flow *f, struct arena *arena, const char *tenant, const char *id, struct closer *out,
                   bool *found, struct error *err)
{
    struct get_call get = {.flow = f, .arena = arena, .tenant = tenant, .ids = &id, .count = 1};
    if (f->meta.ops->read(f->meta.state, get_tx, &get, err) < 0)
        return -1;
    *found = get.rows[0].len > 0;
    if (!*found)
        return 0;
    if (details_unpack(get.rows[0].bytes, get.rows[0].len, &out->plain, err) < 0)
        return -1;
    details_mirror(&out->plain, &out->mirrored);
    return 0;
}

float closer_score(const struct closer *asked, float score, const struct details *kept)
{
    float plain = details_compare(&asked->plain, kept), mirrored = details_compare(&asked->mirrored, kept);
    float evidence = plain > mirrored ? plain : mirrored;
    return score < 1 ? score + (1 - score) * evidence : score;
}

static int by_score(const void *a, const void *b)
{
    const struct index_hit *x = a, *y = b;
    return y->score == x->score ? strcmp(x->id, y->id) : y->score > x->score ? 1 : -1;
}

int closer_look(struct flow *f, struct arena *arena, const char *tenant, const struct closer *asked,
                struct index_hit *hits, size_t count, struct error *err)
{
    struct get_call get = {.flow = f, .arena = arena, .tenant = tenant, .count = count};
    float *scores = arena_alloc(arena, (count + 1) * sizeof *scores);
    get.ids = arena_alloc(arena, (count + 1) * sizeof *get.ids);
    for (size_t i = 0; i < count; i++)
        get.ids[i] = hits[i].id;
    if (f->meta.ops->read(f->meta.state, get_tx, &get, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        struct details kept;
        scores[i] = hits[i].score;
        if (!get.rows[i].len)
            continue;
        if (details_unpack(get.rows[i].bytes, get.rows[i].len, &kept, err) < 0)
            return error_prefix(err, "Item %s", hits[i].id);
        scores[i] = closer_score(asked, hits[i].score, &kept);
    }
    for (size_t i = 0; i < count; i++)
        hits[i].score = scores[i];
    if (count)
        qsort(hits, count, sizeof *hits, by_score);
    return 0;
}
