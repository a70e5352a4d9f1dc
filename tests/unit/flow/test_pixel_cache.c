// SPDX-License-Identifier: Apache-2.0
// The pixel cache: bounds, uses, eviction, many threads.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

static struct pixels square(int edge, uint8_t value)
{
    struct pixels p = {.width = edge, .height = edge, .data = malloc((size_t)edge * (size_t)edge * 3)};
    assert_non_null(p.data);
    memset(p.data, value, pixels_bytes(&p));
    return p;
}

static void put(struct pixel_cache *c, const char *tenant, const char *id, int edge, uint8_t value, int uses)
{
    struct pixels p = square(edge, value);
    pixel_cache_put(c, tenant, id, &p, uses);
    assert_null(p.data); // taken over, or freed
}

// The value of the picture got, or -1.
static int get(struct pixel_cache *c, const char *tenant, const char *id)
{
    struct pixels p = {0};
    if (!pixel_cache_get(c, tenant, id, &p))
        return -1;
    int value = p.data[pixels_bytes(&p) - 1];
    pixels_free(&p);
    return value;
}

static void test_a_picture_can_be_got_as_often_as_said(void **state)
{
    struct pixel_cache *c = pixel_cache_new(1000);
    put(c, "t", "one", 2, 7, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(get(c, "t", "one"), 7);
    assert_int_equal(get(c, "t", "one"), -1);
    put(c, "t", "none", 2, 7, 0);
    assert_int_equal(get(c, "t", "none"), -1);
    pixel_cache_free(c);
    pixel_cache_free(NULL);
}

static void test_g8_the_oldest_make_room(void **state)
{
    struct pixel_cache *c = pixel_cache_new(100); // eight pictures of 12 bytes
    char id[16];
    for (int i = 0; i < 10; i++) {
        snprintf(id, sizeof id, "%d", i);
        put(c, "t", id, 2, (uint8_t)i, 2);
    }
    for (int i = 0; i < 10; i++) {
        snprintf(id, sizeof id, "%d", i);
        assert_int_equal(get(c, "t", id), i < 2 ? -1 : i);
    }
    put(c, "t", "large", 5, 99, 1); // 75 bytes: only two small ones stay
    assert_int_equal(get(c, "t", "7"), -1);
    assert_int_equal(get(c, "t", "8"), 8);
    assert_int_equal(get(c, "t", "9"), 9);
    assert_int_equal(get(c, "t", "large"), 99);
    pixel_cache_free(c);
}

static void test_what_cannot_fit_pushes_nothing_out(void **state)
{
    struct pixel_cache *c = pixel_cache_new(100);
    put(c, "t", "small", 2, 1, 1);
    put(c, "t", "huge", 6, 2, 1);
    assert_int_equal(get(c, "t", "huge"), -1);
    assert_int_equal(get(c, "t", "small"), 1);
    struct pixel_cache *none = pixel_cache_new(0);
    put(none, "t", "any", 1, 1, 1);
    assert_int_equal(get(none, "t", "any"), -1);
    pixel_cache_free(none);
    pixel_cache_free(c);
}

static void test_putting_again_replaces(void **state)
{
    struct pixel_cache *c = pixel_cache_new(24);
    put(c, "t", "a", 2, 1, 1);
    put(c, "t", "a", 2, 2, 1);
    put(c, "t", "b", 2, 3, 1); // fits: the first "a" is counted no more
    assert_int_equal(get(c, "t", "a"), 2);
    assert_int_equal(get(c, "t", "a"), -1);
    assert_int_equal(get(c, "t", "b"), 3);
    pixel_cache_free(c);
}

static void test_g7_tenants_do_not_share(void **state)
{
    struct pixel_cache *c = pixel_cache_new(1000);
    put(c, "a", "same", 2, 1, 1);
    assert_int_equal(get(c, "b", "same"), -1);
    put(c, "b", "same", 2, 2, 1);
    assert_int_equal(get(c, "a", "same"), 1);
    assert_int_equal(get(c, "b", "same"), 2);
    pixel_cache_free(c);
}

static void *hammer(void *arg)
{
    struct pixel_cache *c = arg;
    char id[16];
    for (int i = 0; i < 400; i++) {
        snprintf(id, sizeof id, "%d", i % 13);
        struct pixels p = {.width = 2, .height = 2, .data = malloc(12)};
        if (!p.data)
            abort();
        memset(p.data, i % 13, 12);
        pixel_cache_put(c, "t", id, &p, 2);
        struct pixels got;
        if (pixel_cache_get(c, "t", id, &got)) {
            if (got.data[0] != i % 13 || got.data[11] != i % 13)
                abort();
            pixels_free(&got);
        }
    }
    return NULL;
}

static void test_many_threads(void **state)
{
    struct pixel_cache *c = pixel_cache_new(60);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, c), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    pixel_cache_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_picture_can_be_got_as_often_as_said),
        cmocka_unit_test(test_g8_the_oldest_make_room),
        cmocka_unit_test(test_what_cannot_fit_pushes_nothing_out),
        cmocka_unit_test(test_putting_again_replaces),
        cmocka_unit_test(test_g7_tenants_do_not_share),
        cmocka_unit_test(test_many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
