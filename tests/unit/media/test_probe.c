// SPDX-License-Identifier: Apache-2.0
// The probe: what it says must not depend on how the bytes are cut, and must be right for each kind, each cut, each
// thing that is no image.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "media/image.h"
#include "media/probe.h"
#include "samples.h"

static const struct probe_limits roomy = {.max_pixels = 100000000, .max_edge = 65535};

static int probe_chunked(const void *data, size_t len, size_t chunk, struct media_info *out, struct error *err)
{
    struct probe *p = probe_new(&roomy);
    const uint8_t *at = data;
    for (size_t left = len; left > 0;) {
        size_t count = chunk < left ? chunk : left;
        uint8_t *copy = malloc(count); // of exactly that size, for the sanitizers
        memcpy(copy, at, count);
        probe_feed(p, copy, count, NULL);
        free(copy);
        at += count;
        left -= count;
    }
    int rc = probe_end(p, out, err);
    probe_free(p);
    return rc;
}

static enum error_code code_of(const void *data, size_t len)
{
    struct error err = {0};
    struct media_info info;
    return probe_chunked(data, len, 65536, &info, &err) ? err.code : ERR_NONE;
}

static void says_what_each_kind_is(void **state)
{
    for (size_t i = 0; i < sample_count; i++) {
        struct sample s = sample_of(131, 87, sample_suffixes[i]);
        static const size_t chunks[] = {1, 2, 3, 7, 64, 511, 512, 513, 4096, SIZE_MAX};
        for (size_t c = 0; c < ARRAY_LEN(chunks); c++) {
            struct media_info info = {0};
            struct error err = {0};
            if (probe_chunked(s.data, s.len, chunks[c], &info, &err))
                fail_msg("%s in chunks of %zu: %s", sample_suffixes[i], chunks[c], err.message);
            assert_string_equal(info.format, sample_formats[i]);
            assert_int_equal(info.width, 131);
            assert_int_equal(info.height, 87);
            assert_memory_equal(info.content_type, "image/", 6);
        }
        sample_free(&s);
    }
}

static void sees_every_cut(void **state)
{
    for (size_t i = 0; i < sample_count; i++) {
        struct sample s = sample_of(40, 30, sample_suffixes[i]);
        for (size_t cut = 40; cut < s.len; cut++) {
            enum error_code whole = code_of(s.data, cut);
            if (whole != ERR_IMAGE_TRUNCATED)
                fail_msg("%s of %zu bytes cut after %zu: %s", sample_suffixes[i], s.len, cut, error_code_name(whole));
            struct error err = {0};
            struct media_info info;
            if (cut % 16 == 0) {
                assert_int_equal(probe_chunked(s.data, cut, 1, &info, &err), -1);
                assert_int_equal(err.code, ERR_IMAGE_TRUNCATED);
            }
        }
        sample_free(&s);
    }
}

static void accepts_bytes_behind_the_end(void **state)
{
    uint8_t tail[3000];
    for (size_t i = 0; i < sizeof(tail); i++)
        tail[i] = (uint8_t)(i * 89 + 0xff);
    for (size_t i = 0; i < sample_count; i++) {
        struct sample s = sample_of(40, 30, sample_suffixes[i]), both = sample_cat(s.data, s.len, tail, sizeof(tail));
        for (size_t more = 0; more <= sizeof(tail); more += more < 20 ? 1 : 745)
            if (code_of(both.data, s.len + more))
                fail_msg("%s and %zu bytes are not accepted", sample_suffixes[i], more);
        sample_free(&both);
        sample_free(&s);
    }
}

static void a_hidden_end_is_no_end(void **state)
{
    static const uint8_t preview[] = {0xff, 0xe1, 0, 12, 'E', 'x', 0xff, 0xd8, 0xff, 0xda, 0, 2, 0xff, 0xd9};
    struct sample s = sample_of(40, 30, ".jpg");
    struct sample head = sample_cat(s.data, 2, preview, sizeof(preview));
    struct sample all = sample_cat(head.data, head.len, s.data + 2, s.len - 2);
    assert_int_equal(code_of(all.data, all.len), ERR_NONE);
    assert_int_equal(code_of(all.data, all.len - 2), ERR_IMAGE_TRUNCATED);
    assert_int_equal(code_of(head.data, head.len), ERR_IMAGE_TRUNCATED);
    sample_free(&all);
    sample_free(&head);
    sample_free(&s);
}

static void names_what_it_refuses(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *says;
    } cases[] = {
#define CASE(text, says) {text, sizeof(text) - 1, says}
        CASE("<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG file"),
        CASE("\xef\xbb\xbf<?xml version='1.0'?>\n<!-- c -->\n<svg/>", "an SVG file"),
        CASE("<?xml version='1.0'?><feed/>", "an XML file"),
        CASE("\n <!DOCTYPE html><p>", "an HTML page"),
        CASE("%PDF-1.7\n", "a PDF document"),
        CASE("II*\0abcdefgh", "a TIFF file"),
        CASE("MM\0*abcdefgh", "a TIFF file"),
        CASE("BM\x36\0\0\0\0\0\0\0\x36\0\0\0", "a BMP file"),
        CASE("8BPS\0\1", "a Photoshop document"),
        CASE("\0\0\1\0\1\0", "an icon"),
        CASE("PK\3\4\x14\0", "a ZIP archive"),
        CASE("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an office document"),
        CASE("\0\0\0\x20"
             "ftypisom\0\0\0\0",
             "an MP4 video"),
        CASE("\0\0\0\x14"
             "ftypqt  \0\0\0\0",
             "a QuickTime video"),
        CASE("\x1a\x45\xdf\xa3\1\0", "a WebM or Matroska video"),
        CASE("RIFF\0\0\0\0AVI LIST", "an AVI video"),
        CASE("\x1f\x8b\x08\0", "a gzip file"),
        CASE("\x7f"
             "ELF\2\1",
             "an executable program"),
        CASE("MZ\x90\0\3\0\0\0", "an executable program"),
        CASE("#!/bin/sh\n", "a script"),
        CASE("#EXTM3U\n", "a playlist"),
        CASE("{\"a\": 1}", "a JSON file"),
        CASE("Dear reader, this is no picture.\n", "a text file"),
        CASE("\0\0\0\0\0\0\0\0", "not a file of a known kind"),
        CASE("\xff\xd8", "not a file of a known kind"),
#undef CASE
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct media_info info;
        struct error err = {0};
        assert_int_equal(probe_chunked(cases[i].bytes, cases[i].len, 1, &info, &err), -1);
        assert_int_equal(err.code, ERR_UNSUPPORTED_MEDIA);
        if (!strstr(err.message, cases[i].says))
            fail_msg("\"%s\" does not say \"%s\"", err.message, cases[i].says);
        assert_non_null(strstr(err.message, "DeepLens takes JPEG, PNG, GIF, WebP, AVIF and HEIC images."));
    }
    assert_int_equal(code_of("", 0), ERR_EMPTY_FILE);
}

static const uint8_t jpeg_65535[] = {0xff, 0xd8, 0xff, 0xc0, 0, 17, 8,    0xff, 0xff, 0xff, 0xff,
                                     3,    1,    0x11, 0,    2, 1,  0x11, 1,    3,    1,    0x11};
static const uint8_t png_100000[] = {0x89, 'P',  'N',  'G', '\r', '\n', 0x1a, '\n', 0, 0, 0, 13, 'I', 'H', 'D', 'R', 0,
                                     1,    0x86, 0xa0, 0,   1,    0x86, 0xa0, 8,    2, 0, 0, 0,  0,   0,   0,   0};
static const uint8_t gif_65535[] = "GIF89a\xff\xff\xff\xff\0\0\0";
static const uint8_t gif_frame[] = "GIF89a\1\0\1\0\0\0\0\x2c\0\0\0\0\xff\xff\xff\xff\0";
static const uint8_t webp_16m[] = "RIFF\x60\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff";

static void refuses_too_large_headers_at_once(void **state)
{
    static const struct {
        const uint8_t *data;
        size_t len;
    } cases[] = {{jpeg_65535, sizeof(jpeg_65535)},
                 {png_100000, sizeof(png_100000)},
                 {gif_65535, 13},
                 {gif_frame, sizeof(gif_frame) - 1},
                 {webp_16m, sizeof(webp_16m) - 1}};
    uint8_t zeros[512] = {0};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct probe *p = probe_new(&roomy);
        struct error err = {0}, again = {0};
        struct media_info info;
        probe_feed(p, cases[i].data, cases[i].len, NULL);
        assert_int_equal(probe_feed(p, zeros, sizeof(zeros), &err), -1); // long before the file could have ended
        assert_int_equal(err.code, ERR_IMAGE_TOO_LARGE);
        assert_int_equal(probe_feed(p, zeros, 1, &again), -1);
        assert_string_equal(again.message, err.message);
        assert_int_equal(probe_end(p, &info, &again), -1);
        assert_string_equal(again.message, err.message);
        probe_free(p);
    }
}

static void refuses_too_large_sizes_in_avif(void **state)
{
    struct sample s = sample_of(64, 64, ".avif");
    uint8_t *ispe = memmem(s.data, s.len, "ispe", 4);
    assert_non_null(ispe);
    memcpy(ispe + 8, "\x7f\xff\xff\xff\x7f\xff\xff\xff", 8);
    assert_int_equal(code_of(s.data, s.len), ERR_IMAGE_TOO_LARGE);
    memcpy(ispe + 8, "\0\0\0\0\0\0\0\1", 8);
    assert_int_equal(code_of(s.data, s.len), ERR_IMAGE_CORRUPT);
    sample_free(&s);
}

static void keeps_to_the_limits(void **state)
{
    struct sample s = sample_of(100, 50, ".png");
    static const struct {
        struct probe_limits limits;
        int rc;
    } cases[] = {{{5000, 100}, 0}, {{4999, 100}, -1}, {{5000, 99}, -1}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct probe *p = probe_new(&cases[i].limits);
        struct media_info info;
        struct error err = {0};
        probe_feed(p, s.data, s.len, NULL);
        assert_int_equal(probe_end(p, &info, &err), cases[i].rc);
        assert_int_equal(err.code, cases[i].rc ? ERR_IMAGE_TOO_LARGE : ERR_NONE);
        probe_free(p);
    }
    sample_free(&s);
}

static void refuses_broken_structures(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        enum error_code code;
    } cases[] = {
#define CASE(text, code) {text, sizeof(text) - 1, code}
        CASE("\xff\xd8\xff\xd9", ERR_IMAGE_CORRUPT),
        CASE("\xff\xd8\xff\xe0\0\1", ERR_IMAGE_CORRUPT),
        CASE("\xff\xd8\xff\xda\0\2", ERR_IMAGE_CORRUPT),
        CASE("\xff\xd8\xff\xc0\0\x0b\x08\0\0\0\x10\1\1\x11\0", ERR_IMAGE_CORRUPT),
        CASE("\xff\xd8\xff\xc3\0\x0b\x08\0\x10\0\x10\1\1\x11\0", ERR_UNSUPPORTED_MEDIA),
        CASE("\xff\xd8\xff\xc1\0\x0b\x0c\0\x10\0\x10\1\1\x11\0", ERR_UNSUPPORTED_MEDIA),
        CASE("\x89PNG\r\n\x1a\n\0\0\0\1IDAT", ERR_IMAGE_CORRUPT),
        CASE("\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\1\0\0\0\1\x08\5\0\0\0", ERR_IMAGE_CORRUPT),
        CASE("\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\0\0\0\0\1\x08\2\0\0\0", ERR_IMAGE_CORRUPT),
        CASE("\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\1\0\0\0\1\x08\2\0\0\0crc!\0\0\0\0IEND", ERR_IMAGE_CORRUPT),
        CASE("GIF89a\1\0\1\0\0\0\0\x3b", ERR_IMAGE_CORRUPT),
        CASE("GIF89a\1\0\1\0\0\0\0\x99", ERR_IMAGE_CORRUPT),
        CASE("RIFF\x10\0\0\0WEBPVP8L\xff\0\0\0\x2f\0\0\0", ERR_IMAGE_CORRUPT),
        CASE("RIFF\x10\0\0\0WEBPJUNK\4\0\0\0abcd", ERR_IMAGE_CORRUPT),
        CASE("\0\0\0\x10"
             "ftypavif\0\0\0\0\0\0\0\3free",
             ERR_IMAGE_CORRUPT),
        CASE("\0\0\0\x10"
             "ftypavif\0\0\0\0\0\0\0\x0ameta\0\0",
             ERR_IMAGE_CORRUPT),
#undef CASE
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        enum error_code got = code_of(cases[i].bytes, cases[i].len);
        if (got != cases[i].code)
            fail_msg("case %zu: %s instead of %s", i, error_code_name(got), error_code_name(cases[i].code));
    }
}

// Any change of bytes: whatever the answer, it is the same for every chunking.
static void chunks_never_matter(void **state)
{
    uint32_t seed = 1;
    for (size_t i = 0; i < sample_count; i++) {
        struct sample s = sample_of(40, 30, sample_suffixes[i]);
        for (int round = 0; round < 200; round++) {
            seed = seed * 1664525 + 1013904223;
            uint8_t *at = s.data + (seed >> 4) % s.len, old = *at;
            *at = (uint8_t)(seed >> 24);
            struct media_info a = {0}, b = {0};
            struct error ea = {0}, eb = {0};
            assert_int_equal(probe_chunked(s.data, s.len, SIZE_MAX, &a, &ea), probe_chunked(s.data, s.len, 1, &b, &eb));
            assert_int_equal(a.width, b.width);
            assert_int_equal(a.height, b.height);
            assert_string_equal(ea.message, eb.message);
            *at = old;
        }
        sample_free(&s);
    }
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
        cmocka_unit_test(says_what_each_kind_is),          cmocka_unit_test(sees_every_cut),
        cmocka_unit_test(accepts_bytes_behind_the_end),    cmocka_unit_test(a_hidden_end_is_no_end),
        cmocka_unit_test(names_what_it_refuses),           cmocka_unit_test(refuses_too_large_headers_at_once),
        cmocka_unit_test(refuses_too_large_sizes_in_avif), cmocka_unit_test(keeps_to_the_limits),
        cmocka_unit_test(refuses_broken_structures),       cmocka_unit_test(chunks_never_matter),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
