// SPDX-License-Identifier: Apache-2.0
// The exact search: scores of a block of rows, then a look at those that would enter the heap of the k best.
//
// The heap's root is the worst of the best. Once it is full, nearly every row is turned away by one comparison
// of scores; only the others are asked whether they are alive and pass the filter, which reads their item.
//
// Where the query is content with less than all (accuracy) and asks for high scores alone, rows are told apart by their
// sketches first, and only those that may do are looked at: one like the query may be missed, none that is not is
// found.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backends/index/collection.h"

enum { BLOCK_ROWS = 64 };

struct candidate {
    float score;
    const struct item *item;
};

struct search {
    const struct index_query *query;
    struct view view;
    struct candidate *heap;
    size_t size;
    size_t max;
    float least; // scores below cannot enter
    const struct kernel *kernel;
    const float *vector; // the query's, as the kernels want it
    uint64_t sketch[SKETCH_WORDS];
    unsigned limit; // of bits that differ; 0: sketches are not looked at
};

// Whether `a` is found before `b`.
static bool better(const struct candidate *a, const struct candidate *b)
{
    if (a->score != b->score)
        return a->score > b->score;
    return strcmp(item_id(a->item), item_id(b->item)) < 0;
}

static void sift_up(struct candidate *heap, size_t at)
{
    struct candidate moving = heap[at];
    while (at > 0 && better(&heap[(at - 1) / 2], &moving)) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = moving;
}

static void sift_down(struct candidate *heap, size_t size, size_t at)
{
    struct candidate moving = heap[at];
    for (size_t child = 2 * at + 1; child < size; child = 2 * at + 1) {
        if (child + 1 < size && better(&heap[child], &heap[child + 1]))
            child++;
        if (!better(&moving, &heap[child]))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moving;
}

static bool passes(const struct search *s, const struct item *item)
{
    return atomic_load_explicit(&item->died, memory_order_relaxed) > s->view.version &&
           (!s->query->filter || filter_match(s->query->filter, item->term, item->terms));
}

static void offer(struct search *s, float score, const struct item *item)
{
    struct candidate candidate = {score, item};
    bool full = s->size == s->max;
    if ((full && !better(&candidate, &s->heap[0])) || !passes(s, item))
        return;
    if (full) {
        s->heap[0] = candidate;
        sift_down(s->heap, s->size, 0);
    } else {
        s->heap[s->size] = candidate;
        sift_up(s->heap, s->size++);
    }
    if (s->size == s->max)
        s->least = s->heap[0].score;
}

static float clamp(float score)
{
    return score > 1 ? 1 : score < -1 ? -1 : score;
}

static void look(struct search *s, const struct chunk *chunk, size_t begin, size_t rows)
{
    size_t stride = s->view.rows->stride;
    float scores[BLOCK_ROWS];
    s->kernel->dots(s->vector, chunk->vectors + begin * stride, stride, rows, scores);
    for (size_t i = 0; i < rows; i++) {
        float score = clamp(scores[i]);
        if (score >= s->least)
            offer(s, score, chunk->items[begin + i]);
    }
}

static void look_by_sketch(struct search *s, const struct chunk *chunk, size_t begin, size_t rows)
{
    unsigned bits[BLOCK_ROWS];
    s->kernel->bits(s->sketch, (const uint64_t(*)[SKETCH_WORDS])chunk->sketches + begin, rows, bits);
    for (size_t i = 0; i < rows; i++)
        if (bits[i] <= s->limit)
            look(s, chunk, begin + i, 1);
}

static void scan_chunk(struct search *s, const struct chunk *chunk, size_t count)
{
    for (size_t begin = 0; begin < count; begin += BLOCK_ROWS) {
        size_t rows = count - begin < BLOCK_ROWS ? count - begin : BLOCK_ROWS;
        if (s->limit)
            look_by_sketch(s, chunk, begin, rows);
        else
            look(s, chunk, begin, rows);
    }
}

static void scan(struct search *s)
{
    size_t chunk_rows = (size_t)1 << s->view.rows->chunk_shift;
    for (size_t row = 0; row < s->view.count; row += chunk_rows) {
        size_t left = s->view.count - row;
        scan_chunk(s, s->view.chunks[row / chunk_rows], left < chunk_rows ? left : chunk_rows);
    }
}

static int compare_candidates(const void *a, const void *b)
{
    return better(a, b) ? -1 : 1;
}

static struct index_hit *hits_make(struct search *s, struct arena *arena)
{
    struct index_hit *hits = arena_alloc(arena, s->size * sizeof *hits);
    qsort(s->heap, s->size, sizeof *s->heap, compare_candidates);
    for (size_t i = 0; i < s->size; i++)
        hits[i] = (struct index_hit){arena_strdup(arena, item_id(s->heap[i].item)), s->heap[i].score};
    return hits;
}

static int query_check(const struct collection *c, const struct index_query *query, struct error *err)
{
    if (query->k < 1 || query->k > SEARCH_K_MAX)
        return error_set(err, ERR_INVALID, "A search asks for 1 to %d hits", SEARCH_K_MAX);
    if (isnan(query->min_score))
        return error_set(err, ERR_INVALID, "The least score must be a number");
    if (query->dimension && query->dimension != c->dimension)
        return error_set(err, ERR_CONFLICT, "The vectors there have %zu dimensions, and the query has %zu",
                         c->dimension, query->dimension);
    return vector_check(query->vector, c->dimension, "the query", err);
}

// The query as the kernels want it: aligned, and zeros behind it.
static float *query_copy(const float *vector, size_t dimension, size_t stride)
{
    float *copy = aligned_alloc(KERNEL_ALIGN, stride * sizeof *copy);
    if (!copy)
        return NULL;
    memcpy(copy, vector, dimension * sizeof *copy);
    memset(copy + dimension, 0, (stride - dimension) * sizeof *copy);
    return copy;
}

int collection_search(struct collection *c, const struct index_query *query, struct arena *arena,
                      struct index_hit **hits, size_t *count, struct error *err)
{
    if (query_check(c, query, err) < 0)
        return -1;
    struct search s = {.query = query, .view = collection_view(c), .least = query->min_score};
    s.max = query->k < s.view.count ? query->k : s.view.count;
    _cleanup_free_ float *vector = query_copy(query->vector, c->dimension, s.view.rows->stride);
    _cleanup_free_ struct candidate *heap = malloc((s.max ? s.max : 1) * sizeof *heap);
    bool memory = vector && heap;
    if (memory) {
        s.heap = heap;
        s.kernel = c->kernel;
        s.vector = vector;
        if (query->accuracy < 1 && query->min_score > 0) {
            sketch_make(vector, c->dimension, s.sketch);
            s.limit = sketch_limit(query->min_score, query->accuracy);
        }
        scan(&s);
        *hits = hits_make(&s, arena);
        *count = s.size;
    }
    collection_release(c, &s.view);
    return memory ? 0 : error_set(err, ERR_NO_MEMORY, "There is no memory for the search");
}
