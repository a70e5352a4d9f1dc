// SPDX-License-Identifier: Apache-2.0
// The contract of the extractor port, run on every back end: the built-in one; OpenVINO with small models made here and
// the default one of `make models`; and both as one. Models run in processes of the program that DEEPLENS_TEST_BINARY
// names. With DEEPLENS_TEST_FEATURES and DEEPLENS_TEST_V2 (tests/peers/models.py): models that those services run.
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <curl/curl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "../onnx.h"
#include "backends/extractor/extractor_builtin.h"
#include "backends/extractor/extractor_http.h"
#include "backends/extractor/extractor_openvino.h"
#include "backends/extractor/extractor_union.h"
#include "backends/fault.h"
#include "backends/trace.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "cli/folders.h"
#include "conf/conf.h"

static char folder[] = "/tmp/deeplens-extractors-XXXXXX";

static void open_builtin(struct extractor *out)
{
    out->ops = &extractor_builtin;
    assert_int_equal(out->ops->open("", &out->state, NULL), 0);
}

static void open_openvino(struct extractor *out)
{
    struct conf conf;
    struct error err = {0};
    char cache[256];
    conf_init(&conf);
    snprintf(cache, sizeof cache, "%s/.cache", folder);
    const struct openvino_config config = {
        .models = folder, .cache = cache, .library = conf.openvino_dir, .program = getenv("DEEPLENS_TEST_BINARY")};
    size_t count;
    out->ops = &extractor_openvino;
    if (extractor_openvino_open(&config, &out->state, &err) < 0)
        fail_msg("%s", err.message);
    out->ops->models(out->state, &count);
    if (count != 3)
        fail_msg("%zu models instead of 3: `make models` gets what these tests need", count);
    conf_free(&conf);
}

static void open_union(struct extractor *out)
{
    struct extractor parts[2];
    open_builtin(&parts[0]);
    open_openvino(&parts[1]);
    *out = extractor_union_new(parts, 2);
}

static void open_wrapped(struct extractor *out)
{
    struct error err;
    assert_int_equal(fault_setup("extractor.extract:IO_ERROR@100000", &err), 0);
    assert_int_equal(trace_setup("extractor", &err), 0);
    open_union(out);
    *out = trace_wrap_extractor(fault_wrap_extractor(*out));
}

static void open_http(struct extractor *out)
{
    const struct http_extractor_config config = {.models = folder, .timeout_ms = 60000};
    size_t count;
    out->ops = &extractor_http;
    assert_int_equal(extractor_http_open(&config, &out->state, NULL), 0);
    out->ops->models(out->state, &count);
    assert_int_equal(count, 3);
    assert_int_equal(out->ops->health(out->state, NULL), 0);
}

static void open_http_union(struct extractor *out)
{
    struct extractor parts[2];
    open_builtin(&parts[0]);
    open_http(&parts[1]);
    *out = extractor_union_new(parts, 2);
    assert_int_equal(out->ops->health(out->state, NULL), 0);
}

static void (*const here[])(struct extractor *) = {open_builtin, open_openvino, open_union, open_wrapped, NULL};
static void (*const elsewhere[])(struct extractor *) = {open_http, open_http_union, NULL};
static void (*const *openers)(struct extractor *) = here;

// Two small models, of which one takes pictures one by one, and the default one.
static int make_models(void **state)
{
    struct conf conf;
    char path[256], target[1024];
    assert_non_null(getenv("DEEPLENS_TEST_BINARY"));
    log_setup(LOG_WARN, false);
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/pool", folder);
    onnx_write(path, "pool", ONNX_POOL, 8, 0, 0, NULL);
    snprintf(path, sizeof path, "%s/one", folder);
    onnx_write(path, "one", ONNX_POOL, 6, 1, 0, NULL);
    conf_init(&conf);
    snprintf(target, sizeof target, "%s/../models/efficientnet-lite0", conf.openvino_dir);
    snprintf(path, sizeof path, "%s/default", folder);
    assert_int_equal(symlink(target, path), 0);
    conf_free(&conf);
    return 0;
}

static void describe(const char *name, const char *remote)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(folders_make(path, NULL), 0);
    snprintf(path, sizeof path, "%s/%s/model.json", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file,
            "{\"name\": \"%s\", \"dimension\": 192, \"output\": \"cells\", \"input\": {\"width\": 32, \"mean\": "
            "[0.4, 0.5, 0.6], \"std\": [0.2, 0.25, 0.3]}, \"remote\": {%s}}",
            name, remote);
    assert_int_equal(fclose(file), 0);
}

// One of each protocol, and one that takes pictures one by one.
static int describe_remotes(void **state)
{
    char remote[512];
    const char *features = getenv("DEEPLENS_TEST_FEATURES"), *v2 = getenv("DEEPLENS_TEST_V2");
    assert_non_null(features);
    assert_non_null(v2);
    log_setup(LOG_WARN, false);
    openers = elsewhere;
    assert_int_equal(curl_global_init(CURL_GLOBAL_DEFAULT), CURLE_OK);
    assert_non_null(mkdtemp(folder));
    snprintf(remote, sizeof remote, "\"protocol\": \"extract-features\", \"url\": \"%s\"", features);
    describe("features", remote);
    snprintf(remote, sizeof remote,
             "\"protocol\": \"v2\", \"url\": \"%s\", \"model\": \"cells\", \"input\": \"picture\"", v2);
    describe("tensors", remote);
    snprintf(remote, sizeof remote,
             "\"protocol\": \"v2\", \"url\": \"%s/\", \"model\": \"cells\", \"version\": \"v1\", "
             "\"input\": \"picture\", \"datatype\": \"UINT8\", \"batch\": 1, \"streams\": 1",
             v2);
    describe("bytes", remote);
    return 0;
}

static int remove_models(void **state)
{
    return folders_remove(folder, NULL);
}

// The built-in model gives the very same numbers; a network's may differ in the last digits with the size of the batch.
static bool same(const struct extractor_model *model, const float *a, const float *b)
{
    if (strcmp(model->name, "builtin") == 0)
        return memcmp(a, b, model->dimension * sizeof *a) == 0;
    double distance = 0;
    for (size_t i = 0; i < model->dimension; i++)
        distance += (double)(a[i] - b[i]) * (a[i] - b[i]);
    return distance < 1e-6;
}

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

static void (*opener)(struct extractor *); // of the back end under test

// Runs `check` on every model of every back end.
static void each_model(void (*check)(const struct extractor *x, const struct extractor_model *model))
{
    for (size_t i = 0; openers[i]; i++) {
        struct extractor x;
        size_t count = 0;
        openers[i](&x);
        opener = openers[i];
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
    if (x->ops->extract(x->state, model, p, count, out, NULL, &err))
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
        assert_true(same(model, alone, together + i * model->dimension));
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
    assert_int_equal(x->ops->extract(x->state, &foreign, &p, 1, v, NULL, &err), -1);
    assert_int_equal(err.code, ERR_EXTRACTION_FAILED);
    assert_true(strlen(err.message) > 0);
    assert_int_equal(x->ops->extract(x->state, model, &p, model->batch_max + 1, v, NULL, NULL), -1);
    assert_int_equal(x->ops->extract(x->state, model, &none, 1, v, NULL, NULL), -1);
    assert_int_equal(x->ops->extract(x->state, model, &p, 0, v, NULL, &err), 0);
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
    float *v = malloc(c->model->dimension * sizeof(float));
    for (int i = 0; v && i < ROUNDS; i++) {
        int which = (c->me + i) % THREADS;
        if (c->x->ops->extract(c->x->state, c->model, &c->pictures[which], 1, v, NULL, NULL) ||
            !same(c->model, v, c->expected + (size_t)which * c->model->dimension))
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

// Another state, opened later, gives the same vectors: what is in the index stays comparable.
static void check_reopened(const struct extractor *x, const struct extractor_model *model)
{
    size_t bytes = model->dimension * sizeof(float), count;
    float *first = test_malloc(bytes), *second = test_malloc(bytes);
    struct pixels p = scene(300, 200, 9);
    struct extractor again;
    extract(x, model, &p, 1, first);
    opener(&again);
    const struct extractor_model *models = again.ops->models(again.state, &count);
    size_t at = 0;
    while (at < count && strcmp(models[at].name, model->name) != 0)
        at++;
    assert_true(at < count);
    extract(&again, &models[at], &p, 1, second);
    assert_true(same(model, first, second));
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
    return cmocka_run_group_tests_name(
        "extractor contract", tests, getenv("DEEPLENS_TEST_FEATURES") ? describe_remotes : make_models, remove_models);
}
