// SPDX-License-Identifier: Apache-2.0
// The contract of the extractor port, run on every back end that needs nothing but this machine.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>
#include <pthread.h>

#include "backends/extractor/extractor_builtin.h"
#include "base/cleanup.h"

static const struct extractor_ops *const all_ops[] = {&extractor_builtin};

enum { THREADS = 8, ROUNDS = 4 };

static const struct {
    int width, height;
} sizes[] = {{1, 1}, {1, 4000}, {4000, 1}, {2, 3}, {7, 512}, {64, 64}, {512, 384}, {333, 512}};

// Bands, blobs and noise, different for each seed.
static struct pixels scene(int width, int height, uint32_t seed)
{
    struct pixels p = {.width = width, .height = height};
    p.data = malloc(pixels_bytes(&p));
    assert_non_null(p.data);
    uint32_t noise = seed;
    for (int i = 0; i < width * height; i++) {
        int x = i % width, y = i / width;
        noise = noise * 1664525u + 1013904223u;
        p.data[3 * i] = (uint8_t)((uint32_t)(x * x / 31 + y) * (seed % 5 + 1) % 256);
        p.data[3 * i + 1] = (uint8_t)((uint32_t)(x + y * y / 23) * (seed % 7 + 1) % 256);
        p.data[3 * i + 2] = (uint8_t)(noise >> 27);
    }
    return p;
}

static struct pixels plain(int width, int height, uint8_t value)
{
    struct pixels p = {.width = width, .height = height};
    p.data = malloc(pixels_bytes(&p));
    assert_non_null(p.data);
    memset(p.data, value, pixels_bytes(&p));
    return p;
}

static void assert_sound(const float *v, size_t dimension)
{
    double length = 0;
    for (size_t i = 0; i < dimension; i++) {
        assert_true(isfinite(v[i]));
        length += (double)v[i] * (double)v[i];
    }
    assert_true(fabs(length - 1) < 1e-4);
}

// Runs `check` on every model of every back end.
static void each_model(void (*check)(const struct extractor *x, const struct extractor_model *model))
{
    for (size_t i = 0; i < ARRAY_LEN(all_ops); i++) {
        struct extractor x = {.ops = all_ops[i]};
        struct error err = {0};
        size_t count = 0;
        assert_int_equal(x.ops->open("", &x.state, &err), 0);
        const struct extractor_model *models = x.ops->models(x.state, &count);
        assert_true(count > 0);
        for (size_t m = 0; m < count; m++)
            check(&x, &models[m]);
        x.ops->close(x.state);
    }
}

static void extract(const struct extractor *x, const struct extractor_model *model, const struct pixels *p,
                    size_t count, float *out)
{
    struct error err = {0};
    if (x->ops->extract(x->state, model, p, count, out, &err))
        fail_msg("%s: %s", model->name, err.message);
}

static void check_description(const struct extractor *x, const struct extractor_model *model)
{
    size_t length = strlen(model->name);
    assert_in_range(length, 1, 63);
    assert_int_equal(strspn(model->name, "abcdefghijklmnopqrstuvwxyz0123456789._-"), length);
    assert_null(strchr("._-", model->name[0]));
    assert_true(strlen(model->version) > 0);
    assert_in_range(model->dimension, 1, 65536);
    assert_true(model->input_edge > 0);
    assert_true(model->batch_max > 0);
    size_t count;
    assert_ptr_equal(x->ops->models(x->state, &count), x->ops->models(x->state, &count));
}

static void check_sizes(const struct extractor *x, const struct extractor_model *model)
{
    float *v = test_malloc(model->dimension * sizeof(float));
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct pixels p = scene(sizes[i].width, sizes[i].height, (uint32_t)i + 1);
        extract(x, model, &p, 1, v);
        assert_sound(v, model->dimension);
        pixels_free(&p);
    }
    test_free(v);
}

static void check_plain(const struct extractor *x, const struct extractor_model *model)
{
    static const uint8_t values[] = {0, 1, 127, 254, 255};
    float *v = test_malloc(model->dimension * sizeof(float));
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        for (size_t k = 0; k < ARRAY_LEN(values); k++) {
            struct pixels p = plain(sizes[i].width, sizes[i].height, values[k]);
            extract(x, model, &p, 1, v);
            assert_sound(v, model->dimension);
            pixels_free(&p);
        }
    test_free(v);
}

static void check_batch(const struct extractor *x, const struct extractor_model *model)
{
    size_t count = model->batch_max, bytes = model->dimension * sizeof(float);
    struct pixels *p = test_malloc(count * sizeof(*p));
    float *together = test_malloc((count + 1) * bytes), *alone = test_malloc(bytes);
    for (size_t i = 0; i < count; i++)
        p[i] = scene(96 + (int)i % 5, 64, (uint32_t)i + 1);
    float *guard = together + count * model->dimension;
    memset(guard, 0x55, bytes);
    extract(x, model, p, count, together);
    for (size_t i = 0; i < bytes; i++)
        assert_int_equal(((uint8_t *)guard)[i], 0x55);
    for (size_t i = 0; i < count; i++) {
        extract(x, model, &p[i], 1, alone);
        assert_memory_equal(alone, together + i * model->dimension, bytes);
        pixels_free(&p[i]);
    }
    test_free(p);
    test_free(together);
    test_free(alone);
}

static void check_input_is_not_changed(const struct extractor *x, const struct extractor_model *model)
{
    float *v = test_malloc(model->dimension * sizeof(float));
    struct pixels p = scene(200, 150, 3), before = scene(200, 150, 3);
    extract(x, model, &p, 1, v);
    assert_memory_equal(p.data, before.data, pixels_bytes(&p));
    pixels_free(&p);
    pixels_free(&before);
    test_free(v);
}

static void check_refusals(const struct extractor *x, const struct extractor_model *model)
{
    struct error err = {0};
    struct pixels p = scene(16, 16, 1), none = {0};
    float *v = test_malloc(model->dimension * sizeof(float));
    struct extractor_model foreign = *model;
    assert_int_equal(x->ops->extract(x->state, &foreign, &p, 1, v, &err), -1);
    assert_int_equal(err.code, ERR_EXTRACTION_FAILED);
    assert_true(strlen(err.message) > 0);
    assert_int_equal(x->ops->extract(x->state, model, &p, model->batch_max + 1, v, NULL), -1);
    assert_int_equal(x->ops->extract(x->state, model, &none, 1, v, NULL), -1);
    assert_int_equal(x->ops->extract(x->state, model, &p, 0, v, &err), 0);
    pixels_free(&p);
    test_free(v);
}

struct crowd {
    const struct extractor *x;
    const struct extractor_model *model;
    const struct pixels *pictures; // one a thread
    const float *expected;
    int me;
    int different;
};

static void *crowd_work(void *arg)
{
    struct crowd *c = arg;
    size_t bytes = c->model->dimension * sizeof(float);
    float *v = malloc(bytes);
    for (int i = 0; v && i < ROUNDS; i++) {
        int which = (c->me + i) % THREADS;
        if (c->x->ops->extract(c->x->state, c->model, &c->pictures[which], 1, v, NULL) ||
            memcmp(v, c->expected + (size_t)which * c->model->dimension, bytes) != 0)
            c->different++;
    }
    c->different += v == NULL;
    free(v);
    return NULL;
}

static void check_many_threads(const struct extractor *x, const struct extractor_model *model)
{
    struct pixels pictures[THREADS];
    struct crowd crowd[THREADS];
    pthread_t threads[THREADS];
    float *expected = test_malloc(THREADS * model->dimension * sizeof(float));
    for (int i = 0; i < THREADS; i++) {
        pictures[i] = scene(150 + i, 100, (uint32_t)i + 1);
        extract(x, model, &pictures[i], 1, expected + (size_t)i * model->dimension);
    }
    for (int i = 0; i < THREADS; i++) {
        crowd[i] = (struct crowd){.x = x, .model = model, .pictures = pictures, .expected = expected, .me = i};
        assert_int_equal(pthread_create(&threads[i], NULL, crowd_work, &crowd[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(crowd[i].different, 0);
    }
    for (int i = 0; i < THREADS; i++)
        pixels_free(&pictures[i]);
    test_free(expected);
}

// Another state, opened later, gives the very same vectors: what is in the index stays comparable.
static void check_reopened(const struct extractor *x, const struct extractor_model *model)
{
    size_t bytes = model->dimension * sizeof(float), count;
    float *first = test_malloc(bytes), *second = test_malloc(bytes);
    struct pixels p = scene(300, 200, 9);
    struct extractor again = {.ops = x->ops};
    extract(x, model, &p, 1, first);
    assert_int_equal(again.ops->open("", &again.state, NULL), 0);
    const struct extractor_model *models = again.ops->models(again.state, &count);
    size_t at = 0;
    while (at < count && strcmp(models[at].name, model->name) != 0)
        at++;
    assert_true(at < count);
    extract(&again, &models[at], &p, 1, second);
    assert_memory_equal(first, second, bytes);
    again.ops->close(again.state);
    pixels_free(&p);
    test_free(first);
    test_free(second);
}

#define CASE(name, check)                                                                                              \
    static void name(void **state)                                                                                     \
    {                                                                                                                  \
        each_model(check);                                                                                             \
    }
CASE(test_models_are_described, check_description)
CASE(test_any_size_gives_a_unit_vector, check_sizes)
CASE(test_plain_pictures_give_a_unit_vector, check_plain)
CASE(test_a_batch_equals_its_pictures_alone, check_batch)
CASE(test_pictures_are_left_as_they_were, check_input_is_not_changed)
CASE(test_what_is_not_offered_is_refused, check_refusals)
CASE(test_many_threads_get_the_same, check_many_threads)
CASE(test_another_state_gives_the_same, check_reopened)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_models_are_described),
        cmocka_unit_test(test_any_size_gives_a_unit_vector),
        cmocka_unit_test(test_plain_pictures_give_a_unit_vector),
        cmocka_unit_test(test_a_batch_equals_its_pictures_alone),
        cmocka_unit_test(test_pictures_are_left_as_they_were),
        cmocka_unit_test(test_what_is_not_offered_is_refused),
        cmocka_unit_test(test_many_threads_get_the_same),
        cmocka_unit_test(test_another_state_gives_the_same),
    };
    return cmocka_run_group_tests_name("extractor contract", tests, NULL, NULL);
}
