// SPDX-License-Identifier: Apache-2.0
// Pictures for tests: see samples.h.
#include "samples.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

const char *const sample_suffixes[] = {
    ".jpg[Q=90]", ".jpg[Q=90,interlace]", ".png", ".png[interlace]", ".gif", ".webp", ".webp[lossless]", ".avif",
    ".heic"};
const char *const sample_formats[] = {"JPEG", "JPEG", "PNG", "PNG", "GIF", "WEBP", "WEBP", "AVIF", "HEIC"};
const size_t sample_count = sizeof(sample_suffixes) / sizeof(sample_suffixes[0]);

void sample_free(struct sample *s)
{
    free(s->data);
    *s = (struct sample){0};
}

VipsImage *sample_picture(int width, int height)
{
    static const uint8_t colours[4][3] = {{255, 0, 0}, {0, 255, 0}, {0, 0, 255}, {255, 255, 0}};
    uint8_t *data = malloc((size_t)width * (size_t)height * 3), *at = data;
    assert_non_null(data);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++, at += 3)
            memcpy(at, colours[(x >= (width + 1) / 2) + 2 * (y >= (height + 1) / 2)], 3);
    VipsImage *im =
        vips_image_new_from_memory_copy(data, (size_t)width * (size_t)height * 3, width, height, 3, VIPS_FORMAT_UCHAR);
    assert_non_null(im);
    im->Type = VIPS_INTERPRETATION_sRGB;
    free(data);
    return im;
}

// HEIC and AVIF are the same saver, told apart by an option.
static int encode(VipsImage *im, const char *suffix, void **data, size_t *len)
{
    if (strcmp(suffix, ".heic") == 0)
        return vips_heifsave_buffer(im, data, len, "compression", VIPS_FOREIGN_HEIF_COMPRESSION_HEVC, "effort", 0, "Q",
                                    90, NULL);
    if (strcmp(suffix, ".avif") == 0)
        return vips_heifsave_buffer(im, data, len, "compression", VIPS_FOREIGN_HEIF_COMPRESSION_AV1, "effort", 0, "Q",
                                    90, NULL);
    return vips_image_write_to_buffer(im, suffix, data, len, NULL);
}

struct sample sample_encode(VipsImage *im, const char *suffix)
{
    void *data = NULL;
    struct sample s = {0};
    int rc = encode(im, suffix, &data, &s.len);
    if (rc)
        fail_msg("%s: %s", suffix, vips_error_buffer());
    g_object_unref(im);
    s.data = malloc(s.len); // so that a read behind it is seen
    assert_non_null(s.data);
    memcpy(s.data, data, s.len);
    g_free(data);
    return s;
}

struct sample sample_of(int width, int height, const char *suffix)
{
    return sample_encode(sample_picture(width, height), suffix);
}

struct sample sample_cat(const void *a, size_t a_len, const void *b, size_t b_len)
{
    struct sample s = {malloc(a_len + b_len), a_len + b_len};
    assert_non_null(s.data);
    memcpy(s.data, a, a_len);
    memcpy(s.data + a_len, b, b_len);
    return s;
}
