// SPDX-License-Identifier: Apache-2.0
// What looking for near-duplicates costs an item at its indexing: the search among 100,000 others, as a share of making
// the item's vector by `builtin` (any other model takes longer); and the same search without sketches, as a share of
// that, too. Vectors have the default model's 1,792 numbers, and a cosine of 0.5 with each other, about as photos have.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/extractor/extractor_builtin.h"
#include "backends/index/index_flat.h"
#include "base/pixels.h"
#include "bench.h"
#include "ports/index.h"

enum { DIMENSION = 1792, BATCH = 250, ITEMS = 100000, EDGE = 512 };

#define COLLECTION "tenant_bench_builtin_vectors"
#define SCORE 0.8F
#define ACCURACY 0.5F

static uint64_t state = 88172645463325252U;

static float random_unit(void) // -1 … 1, xorshift
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (float)((double)(state >> 40) / (1 << 23) - 1);
}

// What all vectors share has half of the square of their length.
static void make_vector(float *v)
{
    static float common[DIMENSION];
    double sum = 0;
    while (common[0] == 0)
        for (int i = 0; i < DIMENSION; i++)
            common[i] = random_unit();
    for (int i = 0; i < DIMENSION; i++) {
        v[i] = common[i] + random_unit();
        sum += (double)v[i] * v[i];
    }
    for (int i = 0; i < DIMENSION; i++)
        v[i] = (float)(v[i] / sqrt(sum));
}

static void fill(struct index *index, size_t count)
{
    static float vectors[BATCH][DIMENSION];
    static char ids[BATCH][32];
    struct index_point points[BATCH];
    struct error err = {0};
    bench_check(index->ops->ensure(index->state, COLLECTION, DIMENSION, &err), &err);
    for (size_t done = 0; done < count; done += BATCH) {
        for (size_t i = 0; i < BATCH; i++) {
            make_vector(vectors[i]);
            snprintf(ids[i], sizeof ids[i], "img_%08zu", done + i);
            points[i] = (struct index_point){.id = ids[i], .vector = vectors[i]};
        }
        bench_check(index->ops->upsert(index->state, COLLECTION, points, BATCH, &err), &err);
    }
}

static double search_time(struct index *index, const float *vector, float accuracy)
{
    struct index_hit *hits;
    size_t count;
    struct error err = {0};
    _cleanup_arena_ struct arena arena = {0};
    const struct index_query query = {.vector = vector, .k = 33, .min_score = SCORE, .accuracy = accuracy};
    double start = bench_now();
    bench_check(index->ops->search(index->state, COLLECTION, &query, &arena, &hits, &count, &err), &err);
    return bench_now() - start;
}

static double extraction_time(const struct extractor *x, const struct pixels *picture, float *vector)
{
    size_t count;
    struct error err = {0};
    const struct extractor_model *model = x->ops->models(x->state, &count);
    double start = bench_now();
    bench_check(x->ops->extract(x->state, model, picture, 1, vector, NULL, &err), &err);
    return bench_now() - start;
}

static void make_picture(struct pixels *out)
{
    *out = (struct pixels){.width = EDGE, .height = EDGE * 3 / 4};
    out->data = malloc(pixels_bytes(out));
    if (!out->data)
        bench_fail("no memory for a picture");
    for (int i = 0; i < out->width * out->height * 3; i++)
        out->data[i] = (uint8_t)(128 + 60 * sin(i / 97.0) + 60 * random_unit());
}

int main(int argc, char **argv)
{
    struct bench b;
    char dir[4096];
    struct error err = {0};
    struct index index = {.ops = &index_flat};
    struct extractor extractor = {.ops = &extractor_builtin};
    struct series shares = {0}, whole = {0}, searches = {0}, extractions = {0};
    struct pixels picture;
    float vector[DIMENSION];
    bench_open(&b, "duplicates", argc, argv);
    bench_check(index.ops->open(bench_fresh(&b, dir), &index.state, &err), &err);
    bench_check(extractor.ops->open("", &extractor.state, &err), &err);
    bench_say(&b, "%d vectors", b.brief ? 2000 : ITEMS);
    fill(&index, b.brief ? 2000 : ITEMS);
    make_picture(&picture);
    for (int i = 0; i < (b.brief ? 3 : 51); i++) {
        make_vector(vector);
        double look = search_time(&index, vector, ACCURACY);
        double extraction = extraction_time(&extractor, &picture, vector);
        series_add(&shares, look / extraction);
        series_add(&searches, look * 1e6);
        series_add(&extractions, extraction * 1e6);
    }
    for (int i = 0; i < (b.brief ? 3 : 11); i++) { // apart, as it leaves nothing in the caches
        make_vector(vector);
        series_add(&whole, search_time(&index, vector, 1) * 1e6 / series_quantile(&extractions, 0.5));
    }
    bench_at_most(&b, "look_vs_builtin_extraction", series_quantile(&shares, 0.5), 0.1);
    bench_fact(&b, "exact_look_vs_builtin_extraction", series_quantile(&whole, 0.5));
    bench_fact(&b, "look_us", series_quantile(&searches, 0.5));
    bench_fact(&b, "builtin_extraction_us", series_quantile(&extractions, 0.5));
    pixels_free(&picture);
    extractor.ops->close(extractor.state);
    index.ops->close(index.state);
    bench_remove(dir);
    series_free(&shares);
    series_free(&whole);
    series_free(&searches);
    series_free(&extractions);
    return 0;
}
