// SPDX-License-Identifier: Apache-2.0
// Images on libvips.
//
// Decoding is one pass: the loader is chosen by magic (no other can be reached: all are blocked but five), told to
// shrink while it decodes where it can, read in order from top to bottom, and pulled strip by strip by the calling
// thread itself. libvips' own thread pool is not used: handing a small image to another thread and back costs more
// than it brings, and the callers are already as many as there are cores.
//
// Every step that may be skipped is: no alpha, no flattening; 8-bit sRGB, no conversion.
#include "media/image.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <vips/vips.h>

#include "base/cleanup.h"
#include "media/magic.h"

DEFINE_CLEANUP(VipsImage *, image, g_object_unref)
#define _cleanup_image_ _cleanup_(cleanup_image)
DEFINE_CLEANUP(VipsRegion *, region, g_object_unref)
#define _cleanup_region_ _cleanup_(cleanup_region)

static pthread_once_t init_once = PTHREAD_ONCE_INIT;
static bool init_done;

// libvips warns through GLib ("invalid sRGB profile"), once a call and to stderr: what matters comes back as an error.
static void swallow_log(const gchar *domain, GLogLevelFlags level, const gchar *message, gpointer data)
{
}

static void init_vips(void)
{
    g_log_set_handler("VIPS", G_LOG_LEVEL_WARNING | G_LOG_LEVEL_MESSAGE | G_LOG_LEVEL_INFO | G_LOG_LEVEL_DEBUG,
                      swallow_log, NULL);
    if (VIPS_INIT("deeplens"))
        return;
    vips_block_untrusted_set(TRUE);
    vips_operation_block_set("VipsForeignLoad", TRUE);
    static const char *const allowed[] = {"VipsForeignLoadJpeg", "VipsForeignLoadPng", "VipsForeignLoadNsgif",
                                          "VipsForeignLoadWebp", "VipsForeignLoadHeif"};
    for (size_t i = 0; i < ARRAY_LEN(allowed); i++)
        vips_operation_block_set(allowed[i], FALSE);
    vips_cache_set_max(0);
    vips_cache_set_max_mem(0);
    vips_cache_set_max_files(0);
    vips_concurrency_set(1);
    init_done = true;
}

int image_init(struct error *err)
{
    pthread_once(&init_once, init_vips);
    if (!init_done)
        return error_set(err, ERR_INTERNAL, "The image library (libvips) could not be started.");
    return 0;
}

void image_shutdown(void)
{
    if (init_done)
        vips_shutdown();
}

void image_thread_end(void)
{
    vips_thread_shutdown();
}

// The text of libvips' errors, as part of a sentence. The buffer is one a process, so under parallel failures the
// text may be another image's; nothing is decided by it.
static int fail(struct error *err, enum error_code code, const char *what)
{
    char *text = vips_error_buffer_copy();
    char *line = text + strspn(text, " \n");
    line[strcspn(line, "\n")] = '\0';
    size_t len = strlen(line);
    while (len > 0 && strchr(" .", line[len - 1]))
        line[--len] = '\0';
    if (len > 0)
        error_set(err, code, "%s: %s.", what, line);
    else
        error_set(err, code, "%s.", what);
    g_free(text);
    return -1;
}

// Opens the header; no pixel is decoded yet. `shrink` is for JPEG (1, 2, 4, 8), `scale` for WebP.
static VipsImage *open_image(enum media_format format, const void *data, size_t len, int shrink, double scale)
{
    VipsImage *im = NULL;
    void *bytes = (void *)data; // libvips does not write to it, though its prototype says so
#define COMMON "access", VIPS_ACCESS_SEQUENTIAL, "fail_on", VIPS_FAIL_ON_ERROR
    switch (format) {
    case FORMAT_JPEG:
        vips_jpegload_buffer(bytes, len, &im, COMMON, "shrink", shrink, NULL);
        break;
    case FORMAT_PNG:
        vips_pngload_buffer(bytes, len, &im, COMMON, NULL);
        break;
    case FORMAT_GIF:
        vips_gifload_buffer(bytes, len, &im, COMMON, NULL);
        break;
    case FORMAT_WEBP:
        vips_webpload_buffer(bytes, len, &im, COMMON, "scale", scale, NULL);
        break;
    case FORMAT_AVIF:
    case FORMAT_HEIC:
        vips_heifload_buffer(bytes, len, &im, COMMON, NULL);
        break;
    default:
        break;
    }
#undef COMMON
    return im;
}

// Runs one operation: replaces the image by its result.
#define STEP(im, call)                                                                                                 \
    __extension__({                                                                                                    \
        VipsImage *next_ = NULL;                                                                                       \
        int rc_ = (call);                                                                                              \
        if (rc_ == 0) {                                                                                                \
            g_object_unref(*(im));                                                                                     \
            *(im) = next_;                                                                                             \
        }                                                                                                              \
        rc_;                                                                                                           \
    })

// Makes 8-bit samples of any number of bands, without alpha.
static int to_opaque_8bit(VipsImage **im)
{
    if (vips_image_hasalpha(*im)) {
        double white = (*im)->BandFmt == VIPS_FORMAT_USHORT ? 65535 : 255;
        VipsArrayDouble *background = vips_array_double_newv(1, white);
        int rc = STEP(im, vips_flatten(*im, &next_, "background", background, "max_alpha", white, NULL));
        vips_area_unref(VIPS_AREA(background));
        if (rc)
            return -1;
    }
    if ((*im)->BandFmt == VIPS_FORMAT_USHORT) {
        VipsInterpretation as = (*im)->Bands < 3 ? VIPS_INTERPRETATION_B_W : VIPS_INTERPRETATION_sRGB;
        if (STEP(im, vips_cast(*im, &next_, VIPS_FORMAT_UCHAR, "shift", TRUE, NULL)) ||
            STEP(im, vips_copy(*im, &next_, "interpretation", as, NULL)))
            return -1;
    }
    return 0;
}

static int to_srgb(VipsImage **im)
{
    bool profile = vips_image_get_typeof(*im, VIPS_META_ICC_NAME) != 0;
    if (profile || (*im)->Type == VIPS_INTERPRETATION_CMYK) {
        VipsImage *next = NULL;
        const char *otherwise = (*im)->Type == VIPS_INTERPRETATION_CMYK ? "cmyk" : "srgb";
        if (vips_icc_transform(*im, &next, "srgb", "embedded", TRUE, "input_profile", otherwise, "intent",
                               VIPS_INTENT_PERCEPTUAL, "black_point_compensation", TRUE, NULL) == 0) {
            g_object_unref(*im);
            *im = next;
        } else {
            vips_error_clear(); // a broken profile is no reason to refuse a picture
        }
    }
    if ((*im)->Type != VIPS_INTERPRETATION_sRGB || (*im)->Bands != 3 || (*im)->BandFmt != VIPS_FORMAT_UCHAR)
        return STEP(im, vips_colourspace(*im, &next_, VIPS_INTERPRETATION_sRGB, NULL));
    return 0;
}

// Pulls the whole image through the pipeline, in strips, by this thread.
static int pull(VipsImage *im, uint8_t *out)
{
    enum { STRIP = 32 };
    _cleanup_region_ VipsRegion *region = vips_region_new(im);
    size_t row = (size_t)im->Xsize * 3;
    for (int y = 0; y < im->Ysize; y += STRIP) {
        VipsRect rect = {0, y, im->Xsize, VIPS_MIN(STRIP, im->Ysize - y)};
        if (vips_region_prepare(region, &rect))
            return -1;
        for (int i = 0; i < rect.height; i++)
            memcpy(out + (size_t)(y + i) * row, VIPS_REGION_ADDR(region, 0, y + i), row);
    }
    return 0;
}

static int check_size(const VipsImage *im, uint64_t max_pixels, struct error *err)
{
    if ((uint64_t)im->Xsize * (uint64_t)im->Ysize > max_pixels)
        return error_set(err, ERR_IMAGE_TOO_LARGE, "The image has %d × %d pixels; at most %llu are taken.", im->Xsize,
                         im->Ysize, (unsigned long long)max_pixels);
    return 0;
}

// How much the JPEG decoder may shrink and still leave at least what was asked for.
static int jpeg_shrink(double factor)
{
    return factor >= 8 ? 8 : factor >= 4 ? 4 : factor >= 2 ? 2 : 1;
}

// Opens the image so that it decodes at the least size that still covers `max_edge`. Sets the stored size.
static VipsImage *open_shrunk(const struct media_kind *kind, const void *data, size_t len, int max_edge,
                              uint64_t max_pixels, int *width, int *height, struct error *err)
{
    _cleanup_image_ VipsImage *im = open_image(kind->format, data, len, 1, 1.0);
    if (!im) {
        fail(err, ERR_IMAGE_CORRUPT, "The image cannot be decoded");
        return NULL;
    }
    if (check_size(im, max_pixels, err))
        return NULL;
    *width = im->Xsize;
    *height = im->Ysize;
    double factor = (double)VIPS_MAX(im->Xsize, im->Ysize) / max_edge;
    if (kind->format == FORMAT_JPEG && factor >= 2) {
        g_object_unref(im);
        im = open_image(kind->format, data, len, jpeg_shrink(factor), 1.0);
        if (!im)
            fail(err, ERR_IMAGE_CORRUPT, "The image cannot be decoded");
    }
    return take_ptr(im);
}

static int transform(VipsImage **im, int max_edge)
{
    double factor = (double)max_edge / VIPS_MAX((*im)->Xsize, (*im)->Ysize);
    if (to_opaque_8bit(im))
        return -1;
    if (factor < 1 && STEP(im, vips_resize(*im, &next_, factor, NULL)))
        return -1;
    if (to_srgb(im))
        return -1;
    if (vips_image_get_orientation(*im) > 1) {
        VipsImage *memory = vips_image_copy_memory(*im);
        if (!memory)
            return -1;
        g_object_unref(*im);
        *im = memory;
        return STEP(im, vips_autorot(*im, &next_, NULL));
    }
    return 0;
}

int image_decode(const void *data, size_t len, int max_edge, uint64_t max_pixels, struct image_decoded *out,
                 struct error *err)
{
    const struct media_kind *kind = magic_find(data, len);
    if (!kind)
        return magic_refuse(data, len, err);
    int width = 0, height = 0;
    _cleanup_image_ VipsImage *im = open_shrunk(kind, data, len, max_edge, max_pixels, &width, &height, err);
    if (!im)
        return -1;
    bool turned = vips_image_get_orientation(im) >= 5;
    if (transform(&im, max_edge))
        return fail(err, ERR_IMAGE_CORRUPT, "The image cannot be decoded");
    _cleanup_free_ uint8_t *bytes = malloc((size_t)im->Xsize * (size_t)im->Ysize * 3);
    if (!bytes)
        return error_set(err, ERR_NO_MEMORY, "There is no memory for the decoded image.");
    if (pull(im, bytes))
        return fail(err, ERR_IMAGE_CORRUPT, "The image cannot be decoded");
    *out = (struct image_decoded){
        .pixels = {.width = im->Xsize, .height = im->Ysize, .data = take_ptr(bytes)},
        .width = turned ? height : width,
        .height = turned ? width : height,
    };
    return 0;
}

int image_thumbnail(const struct pixels *in, int max_edge, int quality, struct buf *out, struct error *err)
{
    _cleanup_image_ VipsImage *im =
        vips_image_new_from_memory(in->data, pixels_bytes(in), in->width, in->height, 3, VIPS_FORMAT_UCHAR);
    if (!im)
        return fail(err, ERR_INTERNAL, "The thumbnail cannot be made");
    im->Type = VIPS_INTERPRETATION_sRGB;
    double factor = (double)max_edge / VIPS_MAX(in->width, in->height);
    if (factor < 1 && STEP(&im, vips_resize(im, &next_, factor, NULL)))
        return fail(err, ERR_INTERNAL, "The thumbnail cannot be made");
    void *bytes = NULL;
    size_t len = 0;
    if (vips_webpsave_buffer(im, &bytes, &len, "Q", quality, "effort", 0, "strip", TRUE, NULL))
        return fail(err, ERR_INTERNAL, "The thumbnail cannot be encoded");
    int rc = buf_append(out, bytes, len);
    g_free(bytes);
    if (rc)
        return error_set(err, ERR_INTERNAL, "The thumbnail is larger than its bound of %zu bytes.", out->max);
    return 0;
}
