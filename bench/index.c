// SPDX-License-Identifier: Apache-2.0
// The flat index: nanoseconds a vector of a search, as a multiple of reading as many bytes and adding them up, which is
// what the memory allows. Once with more vectors than any cache holds, once with as many as a small collection has.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/index/index_flat.h"
#include "bench.h"
#include "ports/index.h"

enum { DIMENSION = 512, BATCH = 256 };

#define COLLECTION "tenant_bench_builtin_vectors"

typedef uint64_t lanes __attribute__((vector_size(64), may_alias));

static float random_unit(uint64_t *state) // -1 … 1, xorshift
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (float)((double)(*state >> 40) / (1 << 23) - 1);
}

static void random_vector(float *v, uint64_t *state)
{
    double sum = 0;
    for (int i = 0; i < DIMENSION; i++) {
        v[i] = random_unit(state);
        sum += (double)v[i] * v[i];
    }
    for (int i = 0; i < DIMENSION; i++)
        v[i] = (float)(v[i] / sqrt(sum));
}

static void fill(struct index *index, size_t count, uint64_t *state)
{
    static float vectors[BATCH][DIMENSION];
    static char ids[BATCH][32];
    struct index_point points[BATCH];
    struct error err = {0};
    bench_check(index->ops->ensure(index->state, COLLECTION, DIMENSION, &err), &err);
    for (size_t done = 0; done < count;) {
        size_t n = count - done < BATCH ? count - done : BATCH;
        for (size_t i = 0; i < n; i++) {
            random_vector(vectors[i], state);
            snprintf(ids[i], sizeof ids[i], "img_%08zu", done + i);
            points[i] = (struct index_point){.id = ids[i], .vector = vectors[i]};
        }
        bench_check(index->ops->upsert(index->state, COLLECTION, points, n, &err), &err);
        done += n;
    }
    bench_check(index->ops->flush(index->state, COLLECTION, &err), &err);
}

static double search_time(struct index *index, uint64_t *state)
{
    float vector[DIMENSION];
    struct index_hit *hits;
    size_t count;
    struct error err = {0};
    _cleanup_arena_ struct arena arena = {0};
    random_vector(vector, state);
    const struct index_query query = {.vector = vector, .k = 10, .min_score = -1, .accuracy = 1};
    double start = bench_now();
    bench_check(index->ops->search(index->state, COLLECTION, &query, &arena, &hits, &count, &err), &err);
    return bench_now() - start;
}

static double scan_time(const lanes *data, size_t bytes)
{
    lanes sums[4] = {{0}};
    double start = bench_now();
    for (size_t i = 0; i < bytes / sizeof *data; i += 4)
        for (size_t j = 0; j < 4; j++)
            sums[j] += data[i + j];
    double took = bench_now() - start;
    sums[0] += sums[1] + sums[2] + sums[3];
    volatile uint64_t keep = sums[0][0] + sums[0][7];
    (void)keep;
    return took;
}

static void measure(struct bench *b, size_t vectors)
{
    char dir[4096], name[64];
    struct error err = {0};
    struct index index = {.ops = &index_flat};
    uint64_t state = 88172645463325252U;
    size_t bytes = vectors * DIMENSION * sizeof(float);
    struct series ratios = {0}, searches = {0}, scans = {0};
    lanes *data = aligned_alloc(sizeof *data, bytes);
    if (!data)
        bench_fail("no memory for %zu vectors", vectors);
    memset(data, 1, bytes);
    bench_say(b, "%zu vectors", vectors);
    bench_check(index.ops->open(bench_fresh(b, dir), &index.state, &err), &err);
    fill(&index, vectors, &state);
    for (int i = 0; i < (b->brief ? 3 : 41); i++) {
        double scan = scan_time(data, bytes), search = search_time(&index, &state);
        series_add(&ratios, search / scan);
        series_add(&searches, search / (double)vectors * 1e9);
        series_add(&scans, scan / (double)vectors * 1e9);
    }
    index.ops->close(index.state);
    bench_remove(dir);
    free(data);
#define NAME(what) (snprintf(name, sizeof name, what "_%zu", vectors), name)
    bench_fact(b, NAME("search_ns_per_vector"), series_quantile(&searches, 0.5));
    bench_fact(b, NAME("scan_ns_per_vector"), series_quantile(&scans, 0.5));
    bench_fact(b, NAME("search_vs_scan"), series_quantile(&ratios, 0.5));
#undef NAME
    series_free(&ratios);
    series_free(&searches);
    series_free(&scans);
}

int main(int argc, char **argv)
{
    struct bench b;
    bench_open(&b, "index", argc, argv);
    measure(&b, 4096);
    measure(&b, b.brief ? 8192 : 131072);
    return 0;
}
