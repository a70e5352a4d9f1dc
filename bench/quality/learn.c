// SPDX-License-Identifier: Apache-2.0
// Learns what is usual in pictures, and in how copies differ from their originals, and prints it as the table
// src/backends/extractor/builtin_usual.h. Uses the tuning half of the photos alone.
//
//   learn [--items N] FOLDER… > builtin_usual.h
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vips/vips.h>

#include "backends/extractor/builtin_measure.h"
#include "corpus.h"
#include "edits.h"

enum { N = MEASURE_FEATURES, DIRECTIONS = 24, UNIT = 256, MEAN_UNIT = 32767, TILES = 200, THREADS = 2, SWEEPS = 40 };

struct learning {
    struct corpus corpus;
    struct measure measure;
    size_t *chosen, chosen_count;
    float *originals; // of the tuning half; others stay zero
    float *copies;    // chosen × edits
    atomic_size_t next;
};

static void *measure_originals(void *arg)
{
    struct learning *l = arg;
    for (size_t i; (i = atomic_fetch_add(&l->next, 1)) < l->corpus.count;) {
        struct pixels small;
        if (l->corpus.items[i].held_out)
            continue;
        shrink_to(&l->corpus.items[i].source, EDGE_EXTRACT, &small);
        measure_picture(&l->measure, &small, l->originals + i * MEASURE_DIMENSION);
        pixels_free(&small);
    }
    vips_thread_shutdown();
    return NULL;
}

static void *measure_copies(void *arg)
{
    struct learning *l = arg;
    for (size_t i; (i = atomic_fetch_add(&l->next, 1)) < l->chosen_count * EDIT_COUNT;) {
        size_t item = l->chosen[i / EDIT_COUNT];
        uint64_t seed = 77 + i;
        size_t other = l->chosen[random_next(&seed) % l->chosen_count];
        struct pixels copy;
        if (edit_apply((enum edit)(i % EDIT_COUNT), &l->corpus.items[item].source, &l->corpus.items[other].source, seed,
                       &copy)) {
            fprintf(stderr, "learn: %s\n", vips_error_buffer());
            exit(1);
        }
        measure_picture(&l->measure, &copy, l->copies + i * MEASURE_DIMENSION);
        pixels_free(&copy);
    }
    vips_thread_shutdown();
    return NULL;
}

static void run(struct learning *l, void *(*work)(void *))
{
    pthread_t threads[THREADS];
    atomic_store(&l->next, 0);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, work, l);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static void choose(struct learning *l)
{
    size_t tiles = 0, seen = 0;
    for (size_t i = 0; i < l->corpus.count; i++)
        tiles += l->corpus.items[i].tile && !l->corpus.items[i].held_out;
    l->chosen = calloc(l->corpus.count, sizeof(size_t));
    for (size_t i = 0; i < l->corpus.count; i++) {
        const struct sample *it = &l->corpus.items[i];
        if (!it->held_out && (!it->tile || seen++ % (tiles / TILES + 1) == 0))
            l->chosen[l->chosen_count++] = i;
    }
}

// Jacobi's method for symmetric matrices: the columns of `v` become the eigenvectors, the diagonal the values.
static void jacobi_turn(double (*a)[N], double (*v)[N], int p, int q)
{
    double theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
    double t = (theta >= 0 ? 1 : -1) / (fabs(theta) + sqrt(theta * theta + 1)), c = 1 / sqrt(t * t + 1), s = t * c;
    for (int k = 0; k < N; k++) {
        double kp = a[k][p], kq = a[k][q];
        a[k][p] = c * kp - s * kq;
        a[k][q] = s * kp + c * kq;
    }
    for (int k = 0; k < N; k++) {
        double pk = a[p][k], qk = a[q][k], vp = v[k][p], vq = v[k][q];
        a[p][k] = c * pk - s * qk;
        a[q][k] = s * pk + c * qk;
        v[k][p] = c * vp - s * vq;
        v[k][q] = s * vp + c * vq;
    }
}

static void jacobi(double (*a)[N], double (*v)[N])
{
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            v[i][j] = i == j;
    for (int sweep = 0; sweep < SWEEPS; sweep++)
        for (int p = 0; p < N; p++)
            for (int q = p + 1; q < N; q++)
                if (fabs(a[p][q]) > 1e-18)
                    jacobi_turn(a, v, p, q);
}

static void print_means(const struct learning *l)
{
    printf("static const int16_t usual_mean[MEASURE_BLOCKS][MEASURE_FEATURES] = {\n");
    for (int b = 0; b < MEASURE_BLOCKS; b++) {
        printf("    {");
        for (int j = 0; j < N; j++) {
            double sum = 0, count = 0;
            for (size_t i = 0; i < l->corpus.count; i++)
                if (!l->corpus.items[i].held_out) {
                    sum += l->originals[i * MEASURE_DIMENSION + (size_t)(b * N + j)];
                    count++;
                }
            printf("%s%ld", j ? ", " : "", lrint(sum / count * MEAN_UNIT));
        }
        printf("},\n");
    }
    printf("};\n\n");
}

// How copies scatter around their originals, in one block.
static void scatter(const struct learning *l, int block, double (*out)[N])
{
    memset(out, 0, sizeof(double) * N * N);
    for (size_t i = 0; i < l->chosen_count * EDIT_COUNT; i++) {
        const float *copy = l->copies + i * MEASURE_DIMENSION + block * N;
        const float *original = l->originals + l->chosen[i / EDIT_COUNT] * MEASURE_DIMENSION + block * N;
        for (int a = 0; a < N; a++)
            for (int b = 0; b < N; b++)
                out[a][b] += (double)(copy[a] - original[a]) * (double)(copy[b] - original[b]);
    }
}

// The eigenvalues' places, largest first.
static void rank(double (*a)[N], int order[N])
{
    for (int i = 0; i < N; i++) {
        int at = i;
        for (; at > 0 && a[order[at - 1]][order[at - 1]] < a[i][i]; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
}

static void print_direction(double (*v)[N], int column)
{
    int largest = 0;
    for (int i = 0; i < N; i++)
        if (fabs(v[i][column]) > fabs(v[largest][column]))
            largest = i;
    printf("        {");
    for (int i = 0; i < N; i++) {
        long value = lrint(v[i][column] * UNIT * (v[largest][column] < 0 ? -1 : 1));
        printf("%s%ld", i ? ", " : "", value > 127 ? 127 : value < -127 ? -127 : value);
    }
    printf("},\n");
}

static void print_directions(const struct learning *l, long amounts[MEASURE_BLOCKS][DIRECTIONS])
{
    static double a[N][N], v[N][N];
    int order[N];
    printf("static const int8_t usual_directions[MEASURE_BLOCKS][USUAL_DIRECTIONS][MEASURE_FEATURES] = {\n");
    for (int b = 0; b < MEASURE_BLOCKS; b++) {
        scatter(l, b, a);
        jacobi(a, v);
        rank(a, order);
        double rest = a[order[DIRECTIONS]][order[DIRECTIONS]];
        printf("    {\n");
        for (int k = 0; k < DIRECTIONS; k++) {
            print_direction(v, order[k]);
            amounts[b][k] = lrint(255 * (1 - sqrt(rest / a[order[k]][order[k]])));
        }
        printf("    },\n");
    }
    printf("};\n\n");
}

static void print_table(const struct learning *l)
{
    long amounts[MEASURE_BLOCKS][DIRECTIONS];
    printf(
        "// SPDX-License-Identifier: Apache-2.0\n"
        "// Made by bench/quality/learn; not to be edited. What is usual in pictures (the mean of each feature), the\n"
        "// directions in which copies differ most from their originals, and by how much each is damped.\n"
        "#ifndef DEEPLENS_BACKENDS_EXTRACTOR_BUILTIN_USUAL_H\n"
        "#define DEEPLENS_BACKENDS_EXTRACTOR_BUILTIN_USUAL_H\n\n#include <stdint.h>\n\n"
        "#include \"backends/extractor/builtin_measure.h\"\n\n"
        "enum { USUAL_DIRECTIONS = %d, USUAL_UNIT = %d, USUAL_MEAN_UNIT = %d };\n\n// clang-format off\n",
        DIRECTIONS, UNIT, MEAN_UNIT);
    print_means(l);
    print_directions(l, amounts);
    printf("static const uint8_t usual_amounts[MEASURE_BLOCKS][USUAL_DIRECTIONS] = { // of 255\n");
    for (int b = 0; b < MEASURE_BLOCKS; b++) {
        printf("    {");
        for (int k = 0; k < DIRECTIONS; k++)
            printf("%s%ld", k ? ", " : "", amounts[b][k]);
        printf("},\n");
    }
    printf("};\n// clang-format on\n\n#endif\n");
}

int main(int argc, char **argv)
{
    static struct learning l;
    int first = argc > 2 && strcmp(argv[1], "--items") == 0 ? 3 : 1;
    size_t items = first == 3 ? strtoul(argv[2], NULL, 10) : 4100;
    if (first >= argc || VIPS_INIT(argv[0])) {
        fprintf(stderr, "usage: learn [--items N] FOLDER... > builtin_usual.h\n");
        return 2;
    }
    vips_concurrency_set(1);
    vips_cache_set_max(0);
    measure_init(&l.measure);
    if (corpus_load(&l.corpus, argv + first, (size_t)(argc - first), items)) {
        fprintf(stderr, "learn: no photos there\n");
        return 1;
    }
    choose(&l);
    l.originals = calloc(l.corpus.count * MEASURE_DIMENSION, sizeof(float));
    l.copies = calloc(l.chosen_count * EDIT_COUNT * MEASURE_DIMENSION, sizeof(float));
    run(&l, measure_originals);
    run(&l, measure_copies);
    print_table(&l);
    free(l.originals);
    free(l.copies);
    free(l.chosen);
    corpus_free(&l.corpus);
    vips_shutdown();
    return 0;
}
