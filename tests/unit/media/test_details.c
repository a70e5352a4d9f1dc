// SPDX-License-Identifier: Apache-2.0
// Details of pictures: altered copies of a scene share them with it, other scenes do not, and what is stored is what
// was found.
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "media/details/details.h"

enum { WIDTH = 480, HEIGHT = 360, SHAPES = 260 };

static const float COPY = 0.5f, OTHER = 0.2f; // evidence: of a copy more, of another scene less

static uint32_t next(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)(*seed >> 33);
}

static void cleanup_pixels(struct pixels *p)
{
    pixels_free(p);
}
#define _cleanup_pixels_ __attribute__((cleanup(cleanup_pixels)))

static struct pixels blank(int width, int height, int shade)
{
    struct pixels p = {.width = width, .height = height};
    p.data = malloc(pixels_bytes(&p));
    memset(p.data, shade, pixels_bytes(&p));
    return p;
}

static uint8_t *at(const struct pixels *p, int x, int y)
{
    return p->data + ((size_t)y * (size_t)p->width + (size_t)x) * 3;
}

// Boxes and discs of many sizes and shades, one over the other.
static struct pixels scene(uint64_t seed)
{
    struct pixels p = blank(WIDTH, HEIGHT, 128);
    for (int i = 0; i < SHAPES; i++) {
        int cx = (int)(next(&seed) % WIDTH), cy = (int)(next(&seed) % HEIGHT), r = 4 + (int)(next(&seed) % 36);
        bool disc = next(&seed) % 2;
        uint8_t shade[3] = {(uint8_t)next(&seed), (uint8_t)next(&seed), (uint8_t)next(&seed)};
        for (int y = cy - r; y <= cy + r; y++)
            for (int x = cx - r; x <= cx + r; x++)
                if (x >= 0 && y >= 0 && x < WIDTH && y < HEIGHT &&
                    (!disc || (x - cx) * (x - cx) + (y - cy) * (y - cy) <= r * r))
                    memcpy(at(&p, x, y), shade, 3);
    }
    return p;
}

static struct pixels cut(const struct pixels *in, int left, int top, int width, int height)
{
    struct pixels p = blank(width, height, 0);
    for (int y = 0; y < height; y++)
        memcpy(at(&p, 0, y), at(in, left, top + y), (size_t)width * 3);
    return p;
}

static struct pixels flipped(const struct pixels *in)
{
    struct pixels p = blank(in->width, in->height, 0);
    for (int y = 0; y < in->height; y++)
        for (int x = 0; x < in->width; x++)
            memcpy(at(&p, x, y), at(in, in->width - 1 - x, y), 3);
    return p;
}

static struct pixels turned(const struct pixels *in) // a quarter
{
    struct pixels p = blank(in->height, in->width, 0);
    for (int y = 0; y < p.height; y++)
        for (int x = 0; x < p.width; x++)
            memcpy(at(&p, x, y), at(in, y, in->height - 1 - x), 3);
    return p;
}

static struct pixels faded(const struct pixels *in) // less contrast, brighter, a little of one colour
{
    struct pixels p = blank(in->width, in->height, 0);
    for (size_t i = 0; i < pixels_bytes(in); i++)
        p.data[i] = (uint8_t)(in->data[i] * 6 / 10 + 60 + (i % 3 ? 0 : 20));
    return p;
}

static struct pixels beside(const struct pixels *one, const struct pixels *two)
{
    struct pixels p = blank(one->width + two->width, one->height, 0);
    for (int y = 0; y < p.height; y++) {
        memcpy(at(&p, 0, y), at(one, 0, y), (size_t)one->width * 3);
        memcpy(at(&p, one->width, y), at(two, 0, y), (size_t)two->width * 3);
    }
    return p;
}

static struct details *find(const struct pixels *p, size_t most)
{
    struct details *d = malloc(sizeof *d);
    struct error err = {0};
    assert_int_equal(details_find(p, most, d, &err), 0);
    assert_true(d->count <= most);
    assert_int_equal(d->ends[DETAIL_KINDS - 1], d->count);
    return d;
}

static float evidence(const struct pixels *query, const struct pixels *item)
{
    _cleanup_free_ struct details *asked = find(query, DETAILS_ASKED), *kept = find(item, DETAILS_KEPT);
    return details_compare(asked, kept);
}

static void altered_copies_share_the_details_of_their_original(void **state)
{
    _cleanup_pixels_ struct pixels one = scene(1), two = scene(2), crop = cut(&one, 150, 90, 300, 240);
    _cleanup_pixels_ struct pixels turn = turned(&one), fade = faded(&one), both = beside(&two, &one), small;
    pixels_resize(&one, 300, 225, &small);
    const struct pixels *copies[] = {&one, &crop, &turn, &fade, &both, &small};
    for (size_t i = 0; i < ARRAY_LEN(copies); i++) {
        assert_true(evidence(copies[i], &one) > COPY);
        assert_true(i == 4 ? evidence(copies[i], &two) > COPY : evidence(copies[i], &two) < OTHER);
    }
}

static void other_scenes_share_none(void **state)
{
    _cleanup_pixels_ struct pixels one = scene(1);
    for (uint64_t seed = 10; seed < 30; seed++) {
        _cleanup_pixels_ struct pixels other = scene(seed);
        assert_true(evidence(&other, &one) < OTHER);
    }
}

static void a_mirror_image_is_known_by_mirrored_details(void **state)
{
    _cleanup_pixels_ struct pixels one = scene(3), image = flipped(&one);
    _cleanup_free_ struct details *asked = find(&image, DETAILS_ASKED), *kept = find(&one, DETAILS_KEPT);
    _cleanup_free_ struct details *mirrored = malloc(sizeof *mirrored), *back = malloc(sizeof *back);
    assert_true(details_compare(asked, kept) < OTHER);
    details_mirror(asked, mirrored);
    assert_true(details_compare(mirrored, kept) > COPY);
    details_mirror(mirrored, back);
    assert_true(details_compare(back, kept) < OTHER);
    for (size_t i = 0; i < asked->count; i++)
        for (int w = 0; w < DETAIL_WORDS; w++)
            assert_true(asked->bits[w][i] == back->bits[w][i]);
}

static void what_is_stored_is_what_was_found(void **state)
{
    _cleanup_pixels_ struct pixels one = scene(4), crop = cut(&one, 100, 60, 340, 260);
    _cleanup_free_ struct details *kept = find(&one, DETAILS_KEPT), *read = malloc(sizeof *read);
    uint8_t bytes[DETAILS_PACKED_MAX];
    struct error err = {0};
    size_t len = details_pack(kept, bytes);
    assert_true(kept->count > DETAILS_KEPT / 2);
    assert_int_equal(details_unpack(bytes, len, read, &err), 0);
    assert_int_equal(read->count, kept->count);
    for (size_t i = 0; i < kept->count; i++) {
        assert_true(read->of[i].x - kept->of[i].x < 0.02f && kept->of[i].x - read->of[i].x < 0.02f);
        for (int w = 0; w < DETAIL_WORDS; w++)
            assert_true(read->bits[w][i] == kept->bits[w][i]);
    }
    _cleanup_free_ struct details *asked = find(&crop, DETAILS_ASKED);
    assert_true(details_compare(asked, read) > COPY);
    for (size_t cut_len = 0; cut_len < len; cut_len++) {
        _cleanup_free_ uint8_t *part = malloc(cut_len + 1); // of its own, so that a read behind it is seen
        memcpy(part, bytes, cut_len);
        assert_int_equal(details_unpack(part, cut_len, read, &err), -1);
        assert_int_equal(err.code, ERR_DATA_CORRUPT);
    }
    bytes[1] = 200; // ends that do not follow each other
    assert_int_equal(details_unpack(bytes, len, read, &err), -1);
}

static void pictures_without_details_are_like_nothing(void **state)
{
    static const int sizes[][2] = {{1, 1}, {2, 500}, {500, 3}, {19, 19}, {20, 20}, {64, 48}, {512, 20}, {3000, 40}};
    _cleanup_pixels_ struct pixels one = scene(5);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        _cleanup_pixels_ struct pixels flat = blank(sizes[i][0], sizes[i][1], 200),
                                       noise = blank(sizes[i][0], sizes[i][1], 0);
        uint64_t seed = i;
        for (size_t k = 0; k < pixels_bytes(&noise); k++)
            noise.data[k] = (uint8_t)next(&seed);
        _cleanup_free_ struct details *none = find(&flat, DETAILS_ASKED);
        assert_int_equal(none->count, 0);
        assert_true(evidence(&flat, &one) == 0);
        assert_true(evidence(&one, &flat) == 0);
        assert_true(evidence(&noise, &one) < OTHER);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(altered_copies_share_the_details_of_their_original),
        cmocka_unit_test(other_scenes_share_none),
        cmocka_unit_test(a_mirror_image_is_known_by_mirrored_details),
        cmocka_unit_test(what_is_stored_is_what_was_found),
        cmocka_unit_test(pictures_without_details_are_like_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
