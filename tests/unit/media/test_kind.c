// SPDX-License-Identifier: Apache-2.0
// What a file of video is by its first bytes, and what is said of others.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "media/video/kind.h"

struct sample {
    const char *bytes;
    size_t len;
    const char *name; // NULL: refused, with a sentence that holds …
    const char *says;
};
#define SAMPLE(text, name, says)                                                                                       \
    {                                                                                                                  \
        (text), sizeof(text) - 1, (name), (says)                                                                       \
    }

static const struct sample samples[] = {
    SAMPLE("\0\0\0\x20"
           "ftypisom\0\0\2\0isomiso2avc1mp41",
           "MP4", NULL),
    SAMPLE("\0\0\0\x14"
           "ftypqt  \0\0\2\0qt  ",
           "MOV", NULL),
    SAMPLE("\0\0\0\x14"
           "ftyp3gp5\0\0\2\0isom",
           "3GP", NULL),
    SAMPLE("\0\0\x10\0"
           "moov\0\0\0\x6c"
           "mvhd",
           "MOV", NULL),
    SAMPLE("\x1a\x45\xdf\xa3\x01\0\0\0\0\0\0\x1f\x42\x86\x81\x01\x42\x82\x84"
           "webm",
           "WEBM", NULL),
    SAMPLE("\x1a\x45\xdf\xa3\xa3\x42\x86\x81\x01\x42\x82\x88"
           "matroska",
           "MKV", NULL),
    SAMPLE("RIFF\0\0\1\0AVI LIST", "AVI", NULL),
    SAMPLE("\0\0\1\xba\x44\0\4\0", "MPEG-PS", NULL),
    SAMPLE("\0\0\0\x1c"
           "ftypavif\0\0\0\0avifmif1",
           NULL, "an image (AVIF)"),
    SAMPLE("\0\0\0\x18"
           "ftypM4A \0\0\2\0M4A ",
           NULL, "sound file"),
    SAMPLE("\xff\xd8\xff\xe0\0\x10JFIF", NULL, "an image (JPEG)"),
    SAMPLE("%PDF-1.7\n", NULL, "a PDF document"),
    SAMPLE("#EXTM3U\nhttp://example.org/a.ts\n", NULL, "a playlist"),
    SAMPLE("ffconcat version 1.0\nfile x\n", NULL, "a playlist"),
    SAMPLE("RIFF\0\0\1\0WAVEfmt ", NULL, "a WAV sound file"),
    SAMPLE("some words", NULL, "a text file"),
    SAMPLE("\1\2\3\4\5\6\7", NULL, "not a file of a known kind"),
};

static void known_and_refused(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        const struct sample *s = &samples[i];
        const struct video_kind *kind = NULL;
        struct error err = {0};
        int rc = video_kind_find((const uint8_t *)s->bytes, s->len, &kind, &err);
        if (s->name) {
            assert_int_equal(rc, 0);
            assert_string_equal(kind->name, s->name);
        } else {
            assert_int_equal(rc, -1);
            assert_int_equal(err.code, ERR_UNSUPPORTED_MEDIA);
            assert_non_null(strstr(err.message, s->says));
        }
    }
}

static void transport_streams_of_both_sizes(void **state)
{
    for (size_t size = 188; size <= 192; size += 4) {
        uint8_t data[VIDEO_KIND_BYTES] = {0};
        const struct video_kind *kind = NULL;
        struct error err = {0};
        for (size_t at = size - 188; at < sizeof data; at += size)
            data[at] = 0x47;
        assert_int_equal(video_kind_find(data, sizeof data, &kind, &err), 0);
        assert_string_equal(kind->name, "MPEG-TS");
        assert_int_equal(video_kind_find(data, 3 * size, &kind, &err), -1);
    }
}

static void an_empty_file_is_said_to_be_empty(void **state)
{
    const struct video_kind *kind;
    struct error err = {0};
    assert_int_equal(video_kind_find((const uint8_t *)"", 0, &kind, &err), -1);
    assert_int_equal(err.code, ERR_EMPTY_FILE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_and_refused),
        cmocka_unit_test(transport_streams_of_both_sizes),
        cmocka_unit_test(an_empty_file_is_said_to_be_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
