// SPDX-License-Identifier: Apache-2.0
// The built-in extractor's promises: copies of a picture are nearer to it than other pictures are, and a picture's
// numbers are the same on every machine.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "backends/extractor/extractor_builtin.h"
#include "base/cleanup.h"

enum { DIMENSION = 512, SCENES = 24, WIDTH = 320, HEIGHT = 240 };

static void *extractor;
static const struct extractor_model *model;
static struct pixels scenes[SCENES];
static float vectors[SCENES][DIMENSION];

static uint32_t random_next(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static struct pixels blank(int width, int height)
{
    struct pixels p = {.width = width, .height = height};
    p.data = calloc(pixels_bytes(&p), 1);
    assert_non_null(p.data);
    return p;
}

// A sky, a ground, and discs and blocks in between: integers only, so the same everywhere.
static struct pixels paint(uint32_t seed)
{
    struct pixels p = blank(WIDTH, HEIGHT);
    uint32_t r = seed * 2654435761u + 1, sky = random_next(&r), ground = random_next(&r);
    for (int i = 0; i < WIDTH * HEIGHT; i++)
        for (int c = 0; c < 3; c++) {
            int y = i / WIDTH, top = sky >> (8 * c) & 127, foot = ground >> (8 * c) & 127;
            p.data[3 * i + c] = (uint8_t)(60 + (top * (HEIGHT - y) + foot * y) / HEIGHT);
        }
    for (int n = 0; n < 14; n++) {
        uint32_t colour = random_next(&r);
        int x0 = (int)(random_next(&r) % WIDTH), y0 = (int)(random_next(&r) % HEIGHT);
        int size = 8 + (int)(random_next(&r) % 40), round = n % 2;
        for (int y = y0 - size; y < y0 + size; y++)
            for (int x = x0 - size; x < x0 + size; x++) {
                int dx = x - x0, dy = y - y0;
                if (x < 0 || y < 0 || x >= WIDTH || y >= HEIGHT || (round && dx * dx + dy * dy > size * size))
                    continue;
                for (int c = 0; c < 3; c++)
                    p.data[3 * (y * WIDTH + x) + c] = (uint8_t)(30 + (colour >> (8 * c) & 127) + (uint32_t)(dx & 31));
            }
    }
    return p;
}

static void extract(const struct pixels *p, float *out)
{
    assert_int_equal(extractor_builtin.extract(extractor, model, p, 1, out, NULL, NULL), 0);
}

static float cosine(const float *a, const float *b)
{
    float sum = 0;
    for (int i = 0; i < DIMENSION; i++)
        sum += a[i] * b[i];
    return sum;
}

// The edit of every scene must be nearest to that scene, and at least `least` similar to it.
static void expect_found(struct pixels (*edit)(const struct pixels *), float least)
{
    float v[DIMENSION];
    for (int i = 0; i < SCENES; i++) {
        struct pixels copy = edit(&scenes[i]);
        extract(&copy, v);
        pixels_free(&copy);
        float own = cosine(v, vectors[i]);
        assert_true(own >= least);
        for (int k = 0; k < SCENES; k++)
            assert_true(k == i || cosine(v, vectors[k]) < own);
    }
}

static struct pixels crop80(const struct pixels *in)
{
    struct pixels p = blank(in->width * 9 / 10, in->height * 9 / 10);
    for (int y = 0; y < p.height; y++)
        memcpy(p.data + (size_t)y * (size_t)p.width * 3, in->data + ((size_t)(y + 10) * (size_t)in->width + 20) * 3,
               (size_t)p.width * 3);
    return p;
}

static struct pixels half(const struct pixels *in)
{
    struct pixels p;
    pixels_resize(in, in->width / 2, in->height / 2, &p);
    return p;
}

static struct pixels larger(const struct pixels *in)
{
    struct pixels p;
    pixels_resize(in, in->width * 8 / 5, in->height * 8 / 5, &p);
    return p;
}

static void copy_pixel(const struct pixels *in, int x, int y, struct pixels *out, int u, int v)
{
    memcpy(&out->data[3 * (v * out->width + u)], &in->data[3 * (y * in->width + x)], 3);
}

static struct pixels flip(const struct pixels *in)
{
    struct pixels p = blank(in->width, in->height);
    for (int y = 0; y < in->height; y++)
        for (int x = 0; x < in->width; x++)
            copy_pixel(in, x, y, &p, in->width - 1 - x, y);
    return p;
}

static struct pixels turn90(const struct pixels *in)
{
    struct pixels p = blank(in->height, in->width);
    for (int y = 0; y < in->height; y++)
        for (int x = 0; x < in->width; x++)
            copy_pixel(in, x, y, &p, in->height - 1 - y, x);
    return p;
}

static struct pixels turn180(const struct pixels *in)
{
    struct pixels once = turn90(in), twice = turn90(&once);
    pixels_free(&once);
    return twice;
}

// Black bars above and below, as a screenshot has.
static struct pixels letterbox(const struct pixels *in)
{
    struct pixels p = blank(in->width, in->height * 3 / 2);
    memcpy(p.data + (size_t)in->height / 4 * (size_t)in->width * 3, in->data, pixels_bytes(in));
    return p;
}

static struct pixels darker(const struct pixels *in)
{
    struct pixels p = blank(in->width, in->height);
    for (size_t i = 0; i < pixels_bytes(in); i++)
        p.data[i] = (uint8_t)(in->data[i] * 3 / 4 + 5);
    return p;
}

static struct pixels warmer(const struct pixels *in)
{
    static const int gains[3] = {255, 220, 190};
    struct pixels p = blank(in->width, in->height);
    for (size_t i = 0; i < pixels_bytes(in); i++)
        p.data[i] = (uint8_t)(in->data[i] * gains[i % 3] / 255);
    return p;
}

static struct pixels grey(const struct pixels *in)
{
    struct pixels p = blank(in->width, in->height);
    for (size_t i = 0; i < pixels_bytes(in); i += 3)
        memset(&p.data[i], (in->data[i] + 2 * in->data[i + 1] + in->data[i + 2]) / 4, 3);
    return p;
}

#define FINDS(name, edit, least)                                                                                       \
    static void name(void **state)                                                                                     \
    {                                                                                                                  \
        expect_found(edit, least);                                                                                     \
    }
FINDS(test_finds_a_crop, crop80, 0.6F)
FINDS(test_finds_a_smaller_copy, half, 0.9F)
FINDS(test_finds_a_larger_copy, larger, 0.9F)
FINDS(test_finds_a_mirrored_copy, flip, 0.99F)
FINDS(test_finds_a_copy_on_its_side, turn90, 0.99F)
FINDS(test_finds_a_copy_on_its_head, turn180, 0.99F)
FINDS(test_finds_a_letterboxed_copy, letterbox, 0.6F)
FINDS(test_finds_a_darker_copy, darker, 0.8F)
FINDS(test_finds_a_recoloured_copy, warmer, 0.6F)
FINDS(test_finds_a_grey_copy, grey, 0.3F)

// Ten components of two pictures, to 1e-4: another machine, compiler or option may not change them. Whoever changes
// the descriptor on purpose gives it another version and puts what this prints here.
static void test_numbers_are_the_same_everywhere(void **state)
{
    static const float golden[2][10] = {{0.011176F, -0.049456F, -0.025891F, 0.016974F, -0.100511F, 0.103746F, 0.062775F,
                                         0.030976F, -0.014859F, -0.047483F},
                                        {-0.058035F, 0.008578F, 0.003299F, 0.013942F, -0.021495F, 0.141003F, 0.035827F,
                                         0.013405F, -0.055773F, 0.014332F}};
    for (int s = 0; s < 2; s++)
        for (int k = 0; k < 10; k++)
            if (fabsf(vectors[s][k * 51] - golden[s][k]) > 1e-4F)
                fail_msg("version %s, picture %d, component %d: %.6f", model->version, s, k * 51,
                         (double)vectors[s][k * 51]);
}

static void test_description(void **state)
{
    assert_string_equal(model->name, "builtin");
    assert_string_equal(model->version, "1.0");
    assert_int_equal(model->dimension, DIMENSION);
}

static int setup(void **state)
{
    size_t count;
    if (extractor_builtin.open("", &extractor, NULL))
        return -1;
    model = extractor_builtin.models(extractor, &count);
    for (int i = 0; i < SCENES; i++) {
        scenes[i] = paint((uint32_t)i);
        extract(&scenes[i], vectors[i]);
    }
    return 0;
}

static int teardown(void **state)
{
    for (int i = 0; i < SCENES; i++)
        pixels_free(&scenes[i]);
    extractor_builtin.close(extractor);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_description),
        cmocka_unit_test(test_finds_a_crop),
        cmocka_unit_test(test_finds_a_smaller_copy),
        cmocka_unit_test(test_finds_a_larger_copy),
        cmocka_unit_test(test_finds_a_mirrored_copy),
        cmocka_unit_test(test_finds_a_copy_on_its_side),
        cmocka_unit_test(test_finds_a_copy_on_its_head),
        cmocka_unit_test(test_finds_a_letterboxed_copy),
        cmocka_unit_test(test_finds_a_darker_copy),
        cmocka_unit_test(test_finds_a_recoloured_copy),
        cmocka_unit_test(test_finds_a_grey_copy),
        cmocka_unit_test(test_numbers_are_the_same_everywhere),
    };
    return cmocka_run_group_tests_name("builtin extractor", tests, setup, teardown);
}
