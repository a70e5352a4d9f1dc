// SPDX-License-Identifier: Apache-2.0
// Colour profiles and EXIF: what they say, big and little endian, and that no cut is read behind.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "media/exif.h"
#include "media/icc.h"
#include "media/image.h"
#include "samples.h"

static enum icc_kind kind_of(const char *name, int channels, struct icc *out)
{
    VipsBlob *blob = NULL;
    assert_int_equal(vips_profile_load(name, &blob, NULL), 0);
    size_t len;
    const void *data = vips_blob_get(blob, &len);
    enum icc_kind kind = icc_read(data, len, channels, out);
    vips_area_unref(VIPS_AREA(blob));
    return kind;
}

static void knows_the_kinds(void **state)
{
    struct icc icc;
    assert_int_equal(kind_of("srgb", 3, &icc), ICC_SRGB);
    assert_int_equal(kind_of("p3", 3, &icc), ICC_SIMPLE);
    assert_int_equal(kind_of("cmyk", 3, &icc), ICC_OTHER);
    assert_int_equal(kind_of("cmyk", 4, &icc), ICC_OTHER);
    assert_int_equal(kind_of("srgb", 1, &icc), ICC_OTHER);
}

static void grey_stays_grey_and_wide_red_gets_stronger(void **state)
{
    struct icc icc;
    assert_int_equal(kind_of("p3", 3, &icc), ICC_SIMPLE);
    uint8_t samples[] = {0, 0, 0, 128, 128, 128, 255, 255, 255, 200, 60, 50};
    struct pixels px = {4, 1, samples};
    icc_apply(&icc, &px);
    static const int greys[] = {0, 128, 255};
    for (int i = 0; i < 9; i++)
        assert_true(abs(samples[i] - greys[i / 3]) <= 2);
    assert_true(samples[9] > 205 && samples[10] < 60);
}

static void reads_no_profile_behind_its_end(void **state)
{
    VipsBlob *blob = NULL;
    assert_int_equal(vips_profile_load("p3", &blob, NULL), 0);
    size_t len, simple = 0;
    const void *data = vips_blob_get(blob, &len);
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *copy = malloc(cut ? cut : 1); // of exactly that size, for the sanitizers
        struct icc icc;
        memcpy(copy, data, cut);
        simple += icc_read(copy, cut, 3, &icc) == ICC_SIMPLE;
        free(copy);
    }
    assert_true(simple < 10); // only what pads the last tag may be missing
    vips_area_unref(VIPS_AREA(blob));
}

static const uint8_t little[] = "Exif\0\0II*\0\x08\0\0\0\2\0\x0f\1\2\0\4\0\0\0abc\0\x12\1\3\0\1\0\0\0\6\0\0";
static const uint8_t big[] = "Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\x08\0";

static void reads_the_orientation(void **state)
{
    assert_int_equal(exif_orientation(little, sizeof(little)), 6);
    assert_int_equal(exif_orientation(big, sizeof(big)), 8);
    uint8_t wrong[sizeof(big)];
    memcpy(wrong, big, sizeof(big));
    wrong[25] = 9;
    assert_int_equal(exif_orientation(wrong, sizeof(wrong)), 0);
    memcpy(wrong, big, sizeof(big));
    memcpy(wrong + 10, "\xff\xff\xff\xff", 4); // a directory far behind the end
    assert_int_equal(exif_orientation(wrong, sizeof(wrong)), 0);
    memcpy(wrong, big, sizeof(big));
    memcpy(wrong + 10, "\0\0\0\0", 4); // a directory on top of the header
    assert_int_equal(exif_orientation(wrong, sizeof(wrong)), 0);
    for (size_t cut = 0; cut < 34; cut++) {
        uint8_t *copy = malloc(cut ? cut : 1);
        memcpy(copy, little, cut);
        assert_int_equal(exif_orientation(copy, cut), 0);
        free(copy);
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
        cmocka_unit_test(knows_the_kinds),
        cmocka_unit_test(grey_stays_grey_and_wide_red_gets_stronger),
        cmocka_unit_test(reads_no_profile_behind_its_end),
        cmocka_unit_test(reads_the_orientation),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
