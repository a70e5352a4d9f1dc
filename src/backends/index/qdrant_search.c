// SPDX-License-Identifier: Apache-2.0
// Searching. Qdrant gives equal scores in an order of its own, and where they stand at the end of what was asked for,
// any of them. So one more is asked for than is wanted; when its score is that of the last one wanted, twice as many,
// until all that share the score are there to be put in order. TIES_MAX bounds that: of more that are all alike, some
// are found.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "backends/index/collection.h"
#include "backends/index/qdrant_int.h"

enum {
    PATH_MAX_LEN = COLLECTION_NAME_MAX + 64,
    TIES_MAX = 4 * SEARCH_K_MAX,
    EF_MOST = 256, // candidates that an approximate search keeps in view, at an accuracy of nearly 1
    EF_LEAST = 64,
};

static int query_check(const struct index_query *query, size_t dimension, struct error *err)
{
    if (query->k < 1 || query->k > SEARCH_K_MAX)
        return error_set(err, ERR_INVALID, "A search asks for 1 to %d hits", SEARCH_K_MAX);
    if (isnan(query->min_score))
        return error_set(err, ERR_INVALID, "The least score must be a number");
    if (query->dimension && query->dimension != dimension)
        return error_set(err, ERR_CONFLICT, "The vectors there have %zu dimensions, and the query has %zu", dimension,
                         query->dimension);
    return vector_check(query->vector, dimension, "the query", err);
}

// All of the query but how many are wanted.
static void write_query(struct buf *out, const struct index_query *query, size_t dimension)
{
    size_t ef = query->accuracy > 0 ? (size_t)(query->accuracy * EF_MOST) : 0;
    ef = ef < EF_LEAST ? EF_LEAST : ef;
    ef = ef < query->k ? query->k : ef;
    buf_puts(out, "{\"query\":");
    qdrant_write_vector(out, query->vector, dimension);
    buf_puts(out, ",\"with_payload\":[\"id\"],\"params\":");
    if (query->accuracy >= 1)
        buf_puts(out, "{\"exact\":true}");
    else
        buf_printf(out, "{\"hnsw_ef\":%zu}", ef);
    if (query->min_score > -1) // a little less: what has just that score is a hit
        buf_printf(out, ",\"score_threshold\":%.9g", (double)query->min_score - 1e-5);
    if (query->filter && !filter_is_empty(query->filter)) {
        _cleanup_json_ json_t *filter = qdrant_filter(query->filter);
        buf_puts(out, ",\"filter\":");
        if (!filter || js_write(filter, out) < 0)
            out->failed = true;
    }
}

struct page {
    struct index_hit *hits; // in the arena
    size_t count;
    bool gone; // there is no such collection (any more)
};

static int compare_hits(const void *a, const void *b)
{
    const struct index_hit *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return strcmp(x->id, y->id);
}

// Points without an id of ours are somebody else's.
static void read_hits(const json_t *points, struct arena *arena, struct page *out)
{
    size_t i;
    json_t *point;
    out->hits = arena_alloc(arena, (json_array_size(points) + 1) * sizeof *out->hits);
    json_array_foreach((json_t *)points, i, point)
    {
        const char *id = js_str(js_obj(point, "payload"), "id", NULL);
        float score = (float)js_num(point, "score", -1);
        if (id)
            out->hits[out->count++] = (struct index_hit){arena_strdup(arena, id), score > 1    ? 1
                                                                                  : score < -1 ? -1
                                                                                               : score};
    }
    qsort(out->hits, out->count, sizeof *out->hits, compare_hits);
}

static int ask(struct qdrant *q, const char *collection, const struct buf *query, size_t limit, struct arena *arena,
               struct page *out, struct error *err)
{
    char path[PATH_MAX_LEN];
    _cleanup_buf_ struct buf body = BUF_INIT(QDRANT_BODY_MAX);
    buf_append(&body, query->data, query->len);
    buf_printf(&body, ",\"limit\":%zu}", limit);
    if (query->failed || body.failed)
        return error_set(err, ERR_NO_MEMORY, "There is no memory for the search");
    snprintf(path, sizeof path, "/collections/%s/points/query", collection);
    const struct qdrant_request request = {.method = "POST", .path = path, .body = body.data, .body_len = body.len};
    _cleanup_answer_ struct qdrant_answer answer;
    if (qdrant_send(q, &request, &answer, err) < 0)
        return -1;
    const json_t *points = js_arr(answer.result, "points");
    *out = (struct page){.gone = answer.status == 404};
    if (out->gone)
        qdrant_forget(q, collection);
    else if (!points)
        return qdrant_odd(q, &request, err);
    else
        read_hits(points, arena, out);
    return 0;
}

// Whether hits that are as good as the last one wanted may be missing.
static bool cuts_ties(const struct page *page, size_t wanted, size_t limit)
{
    return page->hits && page->count == limit && page->hits[limit - 1].score == page->hits[wanted - 1].score;
}

int qdrant_search(void *state, const char *collection, const struct index_query *query, struct arena *arena,
                  struct index_hit **hits, size_t *count, struct error *err)
{
    size_t dimension, n = 0;
    struct page page = {0};
    struct qdrant *q = state;
    if (qdrant_dimension(q, collection, &dimension, err) < 0)
        return -1;
    if (dimension) {
        if (query_check(query, dimension, err) < 0)
            return -1;
        _cleanup_buf_ struct buf body = BUF_INIT(QDRANT_BODY_MAX);
        write_query(&body, query, dimension);
        size_t limit = query->k + 1;
        if (ask(q, collection, &body, limit, arena, &page, err) < 0)
            return -1;
        while (cuts_ties(&page, query->k, limit) && limit < TIES_MAX) {
            limit *= 2;
            if (ask(q, collection, &body, limit, arena, &page, err) < 0)
                return -1;
        }
    }
    while (n < page.count && n < query->k && page.hits[n].score >= query->min_score)
        n++;
    *hits = page.hits;
    *count = n;
    return 0;
}
