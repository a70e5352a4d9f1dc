// SPDX-License-Identifier: Apache-2.0
// Decoding and thumbnails: each kind, each oddity of colour and shape, each way to be broken.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "base/cleanup.h"
#include "media/image.h"
#include "samples.h"

enum { ROOMY = 100000000 };
enum { RED, GREEN, BLUE, YELLOW, WHITE };
static const uint8_t colours[][3] = {{255, 0, 0}, {0, 255, 0}, {0, 0, 255}, {255, 255, 0}, {255, 255, 255}};

static struct image_decoded decode(const struct sample *s, int max_edge)
{
    struct image_decoded out;
    struct error err = {0};
    if (image_decode(s->data, s->len, max_edge, ROOMY, &out, &err))
        fail_msg("%s", err.message);
    return out;
}

// The middle of one quadrant: 0 … 3, row by row.
static const uint8_t *quadrant(const struct pixels *px, int q)
{
    int x = px->width * (q % 2 ? 3 : 1) / 4, y = px->height * (q / 2 ? 3 : 1) / 4;
    return px->data + ((size_t)y * (size_t)px->width + (size_t)x) * 3;
}

static void assert_colour(const uint8_t *got, const uint8_t *want, int tolerance, const char *where)
{
    for (int i = 0; i < 3; i++)
        if (abs(got[i] - want[i]) > tolerance)
            fail_msg("%s: (%d, %d, %d) instead of (%d, %d, %d)", where, got[0], got[1], got[2], want[0], want[1],
                     want[2]);
}

static void assert_quadrants(const struct pixels *px, const uint8_t order[4], int tolerance, const char *where)
{
    for (int q = 0; q < 4; q++)
        assert_colour(quadrant(px, q), colours[order[q]], tolerance, where);
}

static const uint8_t upright[4] = {RED, GREEN, BLUE, YELLOW};

static void decodes_each_kind(void **state)
{
    static const int edges[] = {1000, 400, 399, 128, 64, 20};
    for (size_t i = 0; i < sample_count; i++) {
        struct sample s = sample_of(400, 300, sample_suffixes[i]);
        for (size_t e = 0; e < ARRAY_LEN(edges); e++) {
            struct image_decoded d = decode(&s, edges[e]);
            assert_int_equal(d.width, 400);
            assert_int_equal(d.height, 300);
            int width = edges[e] < 400 ? edges[e] : 400;
            assert_int_equal(d.pixels.width, width);
            assert_int_equal(d.pixels.height, (width * 300 + 200) / 400);
            assert_quadrants(&d.pixels, upright, 12, sample_suffixes[i]);
            pixels_free(&d.pixels);
        }
        sample_free(&s);
    }
}

static void keeps_odd_shapes(void **state)
{
    static const int shapes[][2] = {{1, 1}, {1, 2}, {3000, 1}, {1, 3000}, {2999, 3}, {17, 1999}, {513, 512}};
    for (size_t i = 0; i < sample_count; i++) {
        for (size_t k = 0; k < ARRAY_LEN(shapes); k++) {
            int w = shapes[k][0], h = shapes[k][1], longer = w > h ? w : h;
            bool heif = strcmp(sample_suffixes[i], ".heic") == 0 || strcmp(sample_suffixes[i], ".avif") == 0;
            if (heif && (w < 16 || h < 16)) // the encoders take no such sizes
                continue;
            struct sample s = sample_of(w, h, sample_suffixes[i]);
            struct image_decoded d = decode(&s, 512);
            assert_int_equal(d.width, w);
            assert_int_equal(d.height, h);
            assert_int_equal(d.pixels.width > d.pixels.height ? d.pixels.width : d.pixels.height,
                             longer < 512 ? longer : 512);
            assert_true(d.pixels.width >= 1 && d.pixels.height >= 1);
            pixels_free(&d.pixels);
            sample_free(&s);
        }
    }
}

static struct sample with_orientation(int orientation, const char *suffix)
{
    VipsImage *im = sample_picture(80, 60);
    vips_image_set_int(im, VIPS_META_ORIENTATION, orientation);
    return sample_encode(im, suffix);
}

static void applies_every_orientation(void **state)
{
    // Which stored quadrant is shown top left, top right, bottom left, bottom right.
    static const uint8_t shown[9][4] = {
        [1] = {RED, GREEN, BLUE, YELLOW}, [2] = {GREEN, RED, YELLOW, BLUE}, [3] = {YELLOW, BLUE, GREEN, RED},
        [4] = {BLUE, YELLOW, RED, GREEN}, [5] = {RED, BLUE, GREEN, YELLOW}, [6] = {BLUE, RED, YELLOW, GREEN},
        [7] = {YELLOW, GREEN, BLUE, RED}, [8] = {GREEN, YELLOW, RED, BLUE},
    };
    static const char *const suffixes[] = {".jpg[Q=90]", ".webp[lossless]"};
    for (int o = 1; o <= 8; o++) {
        for (size_t k = 0; k < ARRAY_LEN(suffixes); k++) {
            struct sample s = with_orientation(o, suffixes[k]);
            for (int edge = 30; edge <= 100; edge += 70) {
                struct image_decoded d = decode(&s, edge);
                assert_int_equal(d.width, o < 5 ? 80 : 60);
                assert_int_equal(d.height, o < 5 ? 60 : 80);
                int longer = edge < 80 ? edge : 80, shorter = (longer * 60 + 40) / 80;
                assert_int_equal(d.pixels.width, o < 5 ? longer : shorter);
                assert_int_equal(d.pixels.height, o < 5 ? shorter : longer);
                assert_quadrants(&d.pixels, shown[o], 12, suffixes[k]);
                pixels_free(&d.pixels);
            }
            sample_free(&s);
        }
    }
}

static VipsImage *converted(VipsImage *im, const char *profile)
{
    VipsImage *out = NULL;
    assert_int_equal(vips_icc_transform(im, &out, profile, "input_profile", "srgb", NULL), 0);
    g_object_unref(im);
    return out;
}

static VipsImage *in_space(VipsImage *im, VipsInterpretation space)
{
    VipsImage *out = NULL;
    assert_int_equal(vips_colourspace(im, &out, space, NULL), 0);
    g_object_unref(im);
    return out;
}

static VipsImage *soft_picture(int r, int g, int b)
{
    VipsImage *im = sample_picture(40, 30);
    for (int i = 0; i < 40 * 30; i++)
        memcpy(VIPS_IMAGE_ADDR(im, i % 40, i / 40), (uint8_t[]){(uint8_t)r, (uint8_t)g, (uint8_t)b}, 3);
    return im;
}

static void applies_colour_profiles(void **state)
{
    static const uint8_t soft[] = {180, 120, 90};
    static const struct {
        const char *profile, *suffix;
        int tolerance;
    } cases[] = {{"p3", ".jpg[Q=100,no-subsample]", 3}, {"p3", ".png", 2},  {"srgb", ".png", 2},
                 {"cmyk", ".jpg[Q=100]", 12},           {"p3", ".webp", 6}, {"p3", ".avif", 6}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sample s = sample_encode(converted(soft_picture(180, 120, 90), cases[i].profile), cases[i].suffix);
        struct image_decoded d = decode(&s, 16);
        assert_colour(quadrant(&d.pixels, 1), soft, cases[i].tolerance, cases[i].suffix);
        pixels_free(&d.pixels);
        sample_free(&s);
    }
}

static void decodes_cmyk_without_a_profile(void **state)
{
    struct sample s = sample_encode(converted(sample_picture(64, 48), "cmyk"), ".jpg[Q=95,strip]");
    struct image_decoded d = decode(&s, 512);
    assert_int_equal(d.pixels.width, 64);
    assert_true(quadrant(&d.pixels, 0)[0] > 150 && quadrant(&d.pixels, 0)[1] < 100); // red, as far as ink can
    assert_true(quadrant(&d.pixels, 2)[2] > 100 && quadrant(&d.pixels, 2)[0] < 100); // blue
    pixels_free(&d.pixels);
    sample_free(&s);
}

static void a_broken_profile_does_no_harm(void **state)
{
    static const char profile[] = "\xff\xd8\xff\xe2\0\x29ICC_PROFILE\0\1\1this is no profile at all";
    struct sample plain = sample_of(64, 48, ".jpg[Q=95]");
    struct sample s = sample_cat(profile, 2 + 2 + 0x29, plain.data + 2, plain.len - 2);
    sample_free(&plain);
    struct image_decoded d = decode(&s, 512);
    assert_quadrants(&d.pixels, upright, 12, "broken profile");
    pixels_free(&d.pixels);
    sample_free(&s);
}

static void decodes_grey_and_16_bit(void **state)
{
    static const struct {
        VipsInterpretation space;
        const char *suffix;
        bool grey;
    } cases[] = {{VIPS_INTERPRETATION_RGB16, ".png", false},
                 {VIPS_INTERPRETATION_GREY16, ".png", true},
                 {VIPS_INTERPRETATION_B_W, ".png", true},
                 {VIPS_INTERPRETATION_B_W, ".jpg[Q=95]", true},
                 {VIPS_INTERPRETATION_B_W, ".webp", true},
                 {VIPS_INTERPRETATION_RGB16, ".heic[bitdepth=10,compression=hevc]", false},
                 {VIPS_INTERPRETATION_sRGB, ".png[palette]", false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sample s = sample_encode(in_space(sample_picture(64, 48), cases[i].space), cases[i].suffix);
        for (int edge = 20; edge <= 64; edge += 44) {
            struct image_decoded d = decode(&s, edge);
            if (cases[i].grey) {
                const uint8_t *red = quadrant(&d.pixels, 0), *yellow = quadrant(&d.pixels, 3);
                assert_true(red[0] == red[1] && red[1] == red[2]);
                assert_true(yellow[0] > red[0] + 80);
            } else {
                assert_quadrants(&d.pixels, upright, 12, cases[i].suffix);
            }
            pixels_free(&d.pixels);
        }
        sample_free(&s);
    }
}

// The lower half is made transparent over any colour: it must come out white.
static VipsImage *half_transparent(int full, VipsInterpretation space)
{
    VipsImage *im = in_space(sample_picture(64, 48), space), *alpha = NULL, *out = NULL, *cast = NULL;
    assert_int_equal(vips_black(&alpha, 64, 48, NULL), 0);
    VipsImage *top = NULL, *joined = NULL;
    assert_int_equal(vips_black(&top, 64, 24, NULL), 0);
    VipsImage *opaque = NULL;
    assert_int_equal(vips_linear1(top, &opaque, 0, full, NULL), 0);
    assert_int_equal(vips_insert(alpha, opaque, &joined, 0, 0, NULL), 0);
    assert_int_equal(vips_cast(joined, &cast, im->BandFmt, NULL), 0);
    assert_int_equal(vips_bandjoin2(im, cast, &out, NULL), 0);
    VipsImage *all[] = {im, alpha, top, opaque, joined, cast};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        g_object_unref(all[i]);
    return out;
}

static void blends_alpha_over_white(void **state)
{
    static const struct {
        VipsInterpretation space;
        int full;
        const char *suffix;
    } cases[] = {{VIPS_INTERPRETATION_sRGB, 255, ".png"},    {VIPS_INTERPRETATION_RGB16, 65535, ".png"},
                 {VIPS_INTERPRETATION_sRGB, 255, ".webp"},   {VIPS_INTERPRETATION_sRGB, 255, ".gif"},
                 {VIPS_INTERPRETATION_sRGB, 255, ".avif"},   {VIPS_INTERPRETATION_B_W, 255, ".png"},
                 {VIPS_INTERPRETATION_GREY16, 65535, ".png"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sample s = sample_encode(half_transparent(cases[i].full, cases[i].space), cases[i].suffix);
        for (int edge = 20; edge <= 64; edge += 44) {
            struct image_decoded d = decode(&s, edge);
            assert_colour(quadrant(&d.pixels, 2), colours[WHITE], 3, cases[i].suffix);
            assert_colour(quadrant(&d.pixels, 3), colours[WHITE], 3, cases[i].suffix);
            assert_true(quadrant(&d.pixels, 0)[1] < 140); // the red stays, or its grey
            pixels_free(&d.pixels);
        }
        sample_free(&s);
    }
}

static void takes_the_first_frame(void **state)
{
    static const char *const suffixes[] = {".gif", ".webp"};
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        VipsImage *frames[2] = {sample_picture(64, 48), soft_picture(0, 0, 0)}, *joined = NULL, *second = NULL;
        assert_int_equal(vips_embed(frames[1], &second, 0, 0, 64, 48, NULL), 0);
        assert_int_equal(vips_join(frames[0], second, &joined, VIPS_DIRECTION_VERTICAL, NULL), 0);
        vips_image_set_int(joined, VIPS_META_PAGE_HEIGHT, 48);
        struct sample s = sample_encode(joined, suffixes[i]);
        for (int edge = 32; edge <= 64; edge += 32) {
            struct image_decoded d = decode(&s, edge);
            assert_int_equal(d.width, 64);
            assert_int_equal(d.height, 48);
            assert_quadrants(&d.pixels, upright, 12, suffixes[i]);
            pixels_free(&d.pixels);
        }
        sample_free(&s);
        g_object_unref(frames[0]);
        g_object_unref(frames[1]);
        g_object_unref(second);
    }
}

static enum error_code refusal(const void *data, size_t len, uint64_t max_pixels)
{
    struct image_decoded out, before;
    memset(&out, 0x5a, sizeof(out));
    before = out;
    struct error err = {0};
    if (image_decode(data, len, 512, max_pixels, &out, &err) == 0) {
        pixels_free(&out.pixels);
        return ERR_NONE;
    }
    assert_memory_equal(&out, &before, sizeof(out));
    assert_true(strlen(err.message) > 10 && err.message[strlen(err.message) - 1] == '.');
    assert_null(strchr(err.message, '\n'));
    return err.code;
}

static void says_why_it_refuses(void **state)
{
    static const char text[] = "Dear reader, this is no picture.\n";
    static const char svg[] = "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>";
    assert_int_equal(refusal("", 0, ROOMY), ERR_EMPTY_FILE);
    assert_int_equal(refusal(text, sizeof(text) - 1, ROOMY), ERR_UNSUPPORTED_MEDIA);
    assert_int_equal(refusal(svg, sizeof(svg) - 1, ROOMY), ERR_UNSUPPORTED_MEDIA);
    struct sample tiff = sample_of(40, 30, ".tif");
    assert_int_equal(refusal(tiff.data, tiff.len, ROOMY), ERR_UNSUPPORTED_MEDIA);
    sample_free(&tiff);
    for (size_t i = 0; i < sample_count; i++) {
        struct sample s = sample_of(64, 48, sample_suffixes[i]);
        assert_int_equal(refusal(s.data, s.len, 64 * 48 - 1), ERR_IMAGE_TOO_LARGE);
        assert_int_equal(refusal(s.data, s.len, 64 * 48), ERR_NONE);
        for (size_t cut = 40; cut < s.len; cut += 1 + s.len / 40)
            assert_int_equal(refusal(s.data, cut, ROOMY), ERR_IMAGE_TRUNCATED);
        sample_free(&s);
    }
}

// Other loaders are blocked in the library itself, not only passed by.
static void reaches_no_other_loader(void **state)
{
    static const char svg[] = "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>";
    VipsImage *im = NULL;
    assert_int_not_equal(vips_svgload_buffer((void *)svg, sizeof(svg) - 1, &im, NULL), 0);
    struct sample tiff = sample_of(40, 30, ".tif");
    assert_int_not_equal(vips_tiffload_buffer(tiff.data, tiff.len, &im, NULL), 0);
    sample_free(&tiff);
    vips_error_clear();
}

static void garbage_ends_in_an_answer(void **state)
{
    uint32_t seed = 7;
    size_t refused = 0;
    for (size_t i = 0; i < sample_count; i++) {
        struct sample s = sample_of(40, 30, sample_suffixes[i]);
        for (int round = 0; round < 150; round++) {
            seed = seed * 1664525 + 1013904223;
            uint8_t *at = s.data + (seed >> 4) % s.len, old = *at;
            *at ^= (uint8_t)(seed >> 24 | 1);
            refused += refusal(s.data, s.len, 1000000) != ERR_NONE;
            *at = old;
        }
        sample_free(&s);
    }
    assert_true(refused > 100);
}

// A progressive JPEG whose last scan is repeated a thousand times would keep a decoder busy for long.
static void refuses_too_many_scans(void **state)
{
    struct sample s = sample_of(64, 48, ".jpg[interlace]");
    uint8_t *scan = NULL;
    for (size_t i = 0; i + 1 < s.len; i++)
        if (s.data[i] == 0xff && s.data[i + 1] == 0xda)
            scan = s.data + i;
    assert_non_null(scan);
    size_t head = (size_t)(scan - s.data), tail = s.len - 2 - head;
    struct sample bomb = {malloc(s.len + 1000 * tail), s.len + 1000 * tail};
    memcpy(bomb.data, s.data, head);
    for (size_t i = 0; i < 1001; i++)
        memcpy(bomb.data + head + i * tail, scan, tail);
    memcpy(bomb.data + bomb.len - 2, "\xff\xd9", 2);
    assert_int_equal(refusal(s.data, s.len, ROOMY), ERR_NONE);
    assert_int_equal(refusal(bomb.data, bomb.len, ROOMY), ERR_IMAGE_CORRUPT);
    sample_free(&bomb);
    sample_free(&s);
}

struct job {
    const struct sample *samples;
    const struct image_decoded *expected;
};

static void *decode_all(void *arg)
{
    const struct job *job = arg;
    size_t wrong = 0;
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < sample_count; i++) {
            struct image_decoded d;
            if (image_decode(job->samples[i].data, job->samples[i].len, 50, ROOMY, &d, NULL)) {
                wrong++;
                continue;
            }
            wrong += memcmp(d.pixels.data, job->expected[i].pixels.data, pixels_bytes(&d.pixels)) != 0;
            pixels_free(&d.pixels);
        }
    }
    image_thread_end();
    return (void *)wrong;
}

static void many_threads_decode_at_once(void **state)
{
    enum { THREADS = 8 };
    struct sample samples[16];
    struct image_decoded expected[16];
    assert_true(sample_count <= 16);
    for (size_t i = 0; i < sample_count; i++) {
        samples[i] = sample_of(200, 150, sample_suffixes[i]);
        expected[i] = decode(&samples[i], 50);
    }
    pthread_t threads[THREADS];
    struct job job = {samples, expected};
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, decode_all, &job), 0);
    for (int i = 0; i < THREADS; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    for (size_t i = 0; i < sample_count; i++) {
        sample_free(&samples[i]);
        pixels_free(&expected[i].pixels);
    }
}

static void makes_thumbnails(void **state)
{
    struct sample s = with_orientation(6, ".jpg[Q=95]");
    struct image_decoded d = decode(&s, 512), back;
    struct buf out = BUF_INIT(1 << 20);
    struct error err = {0};
    assert_int_equal(buf_puts(&out, "before"), 0);
    assert_int_equal(image_thumbnail(&d.pixels, 40, 80, &out, &err), 0);
    assert_memory_equal(out.data, "beforeRIFF", 10);
    assert_memory_equal(out.data + 14, "WEBPVP8 ", 8); // the simple form, which has no room for metadata
    struct sample thumb = {(uint8_t *)out.data + 6, out.len - 6};
    back = decode(&thumb, 512);
    assert_int_equal(back.width, 30);
    assert_int_equal(back.height, 40);
    assert_quadrants(&back.pixels, (const uint8_t[]){BLUE, RED, YELLOW, GREEN}, 40, "thumbnail");
    pixels_free(&back.pixels);
    size_t small = out.len - 6;
    buf_clear(&out);
    assert_int_equal(image_thumbnail(&d.pixels, 4000, 100, &out, &err), 0);
    assert_true(out.len > small);
    struct buf tight = BUF_INIT(20);
    assert_int_equal(image_thumbnail(&d.pixels, 40, 80, &tight, &err), -1);
    buf_free(&tight);
    buf_free(&out);
    pixels_free(&d.pixels);
    sample_free(&s);
}

static int start(void **state)
{
    return image_init(NULL);
}

static int stop(void **state)
{
    image_thread_end();
    image_shutdown();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_each_kind),
        cmocka_unit_test(keeps_odd_shapes),
        cmocka_unit_test(applies_every_orientation),
        cmocka_unit_test(applies_colour_profiles),
        cmocka_unit_test(decodes_cmyk_without_a_profile),
        cmocka_unit_test(a_broken_profile_does_no_harm),
        cmocka_unit_test(decodes_grey_and_16_bit),
        cmocka_unit_test(blends_alpha_over_white),
        cmocka_unit_test(takes_the_first_frame),
        cmocka_unit_test(says_why_it_refuses),
        cmocka_unit_test(reaches_no_other_loader),
        cmocka_unit_test(refuses_too_many_scans),
        cmocka_unit_test(garbage_ends_in_an_answer),
        cmocka_unit_test(many_threads_decode_at_once),
        cmocka_unit_test(makes_thumbnails),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
