// SPDX-License-Identifier: Apache-2.0
// Resizing: exact means, and nothing but exact means.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/pixels.h"

static struct pixels grey(int width, int height, const uint8_t *values)
{
    struct pixels p = {.width = width, .height = height};
    p.data = malloc(pixels_bytes(&p));
    assert_non_null(p.data);
    for (int i = 0; i < width * height * 3; i++)
        p.data[i] = values[i / 3];
    return p;
}

static struct pixels noise(int width, int height, uint32_t seed)
{
    struct pixels p = {.width = width, .height = height};
    p.data = malloc(pixels_bytes(&p));
    assert_non_null(p.data);
    for (size_t i = 0; i < pixels_bytes(&p); i++) {
        seed = seed * 1664525u + 1013904223u;
        p.data[i] = (uint8_t)(seed >> 24);
    }
    return p;
}

static void expect(const struct pixels *in, int width, int height, const uint8_t *values)
{
    struct pixels out;
    pixels_resize(in, width, height, &out);
    assert_int_equal(out.width, width);
    assert_int_equal(out.height, height);
    for (int i = 0; i < width * height * 3; i++)
        assert_int_equal(out.data[i], values[i / 3]);
    pixels_free(&out);
}

static void test_identity(void **state)
{
    struct pixels in = noise(37, 23, 1), out;
    pixels_resize(&in, 37, 23, &out);
    assert_ptr_not_equal(in.data, out.data);
    assert_memory_equal(in.data, out.data, pixels_bytes(&in));
    pixels_free(&out);
    pixels_free(&in);
}

static void test_whole_ratio_is_the_mean(void **state)
{
    struct pixels in = grey(4, 2, (uint8_t[]){0, 10, 100, 101, 20, 30, 102, 103});
    expect(&in, 2, 1, (uint8_t[]){15, 102}); // 60/4; 406/4 = 101.5 rounds up
    expect(&in, 4, 1, (uint8_t[]){10, 20, 101, 102});
    expect(&in, 1, 2, (uint8_t[]){53, 64}); // 211/4 = 52.75; 255/4 = 63.75
    pixels_free(&in);
}

static void test_broken_ratio_shares_pixels(void **state)
{
    struct pixels in = grey(3, 1, (uint8_t[]){0, 90, 240});
    expect(&in, 2, 1, (uint8_t[]){30, 190}); // (2·0 + 90)/3, (90 + 2·240)/3
    pixels_free(&in);
    in = grey(1, 5, (uint8_t[]){0, 50, 100, 150, 200});
    expect(&in, 1, 2, (uint8_t[]){40, 160}); // (0 + 50 + 100/2)/2.5
    pixels_free(&in);
}

static void test_enlarging_is_bilinear(void **state)
{
    struct pixels in = grey(2, 1, (uint8_t[]){0, 200});
    expect(&in, 4, 1, (uint8_t[]){0, 50, 150, 200});
    expect(&in, 4, 2, (uint8_t[]){0, 50, 150, 200, 0, 50, 150, 200});
    pixels_free(&in);
    in = grey(1, 1, (uint8_t[]){77});
    expect(&in, 3, 2, (uint8_t[]){77, 77, 77, 77, 77, 77});
    pixels_free(&in);
}

static void test_one_axis_up_the_other_down(void **state)
{
    struct pixels in = grey(2, 4, (uint8_t[]){0, 100, 20, 120, 40, 140, 60, 160});
    expect(&in, 4, 2, (uint8_t[]){10, 35, 85, 110, 50, 75, 125, 150});
    pixels_free(&in);
}

static void test_channels_stay_apart(void **state)
{
    uint8_t data[] = {10, 20, 30, 30, 40, 50};
    struct pixels in = {.width = 2, .height = 1, .data = data}, out;
    pixels_resize(&in, 1, 1, &out);
    assert_memory_equal(out.data, ((uint8_t[]){20, 30, 40}), 3);
    pixels_free(&out);
}

// The definition, computed the slow way, on sizes that share no factor and on the widest weights.
static void test_matches_the_definition(void **state)
{
    static const int sizes[][4] = {{101, 67, 32, 29}, {640, 3, 7, 2},    {3, 640, 3, 1},
                                   {1, 4000, 1, 128}, {4000, 1, 300, 1}, {700, 520, 2, 519}};
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        int64_t W = sizes[s][0], H = sizes[s][1], w = sizes[s][2], h = sizes[s][3];
        struct pixels in = noise((int)W, (int)H, (uint32_t)s + 7), out;
        pixels_resize(&in, (int)w, (int)h, &out);
        for (int64_t i = 0; i < w * h * 3; i++) {
            int64_t c = i % 3, x = i / 3 % w, y = i / 3 / w, sum = W * H / 2;
            for (int64_t v = y * H / h; v < H && v * h < (y + 1) * H; v++) {
                int64_t top = v * h > y * H ? v * h : y * H;
                int64_t bottom = (v + 1) * h < (y + 1) * H ? (v + 1) * h : (y + 1) * H;
                for (int64_t u = x * W / w; u < W && u * w < (x + 1) * W; u++) {
                    int64_t left = u * w > x * W ? u * w : x * W;
                    int64_t right = (u + 1) * w < (x + 1) * W ? (u + 1) * w : (x + 1) * W;
                    sum += in.data[(v * W + u) * 3 + c] * (bottom - top) * (right - left);
                }
            }
            assert_int_equal(out.data[i], sum / (W * H));
        }
        pixels_free(&out);
        pixels_free(&in);
    }
}

static void test_free_takes_a_zeroed_one(void **state)
{
    struct pixels p = {0};
    pixels_free(&p);
    assert_null(p.data);
    p = noise(2, 2, 1);
    pixels_free(&p);
    assert_null(p.data);
    assert_int_equal(p.width, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_whole_ratio_is_the_mean),
        cmocka_unit_test(test_broken_ratio_shares_pixels),
        cmocka_unit_test(test_enlarging_is_bilinear),
        cmocka_unit_test(test_one_axis_up_the_other_down),
        cmocka_unit_test(test_channels_stay_apart),
        cmocka_unit_test(test_matches_the_definition),
        cmocka_unit_test(test_free_takes_a_zeroed_one),
    };
    return cmocka_run_group_tests_name("pixels", tests, NULL, NULL);
}
