// SPDX-License-Identifier: Apache-2.0
// Images on libvips, but for ordinary JPEGs (see jpeg.h).
//
// Decoding is one pass: the loader is chosen by magic (no other can be reached: all are blocked but five), told to
// shrink while it decodes where it can, read in order from top to bottom, and pulled strip by strip by the calling
// thread itself. libvips' own thread pool is not used: handing a small image to another thread and back costs more
// than it brings, and the callers are already as many as there are cores.
//
// Every step that may be skipped is: no alpha, no flattening; 8-bit sRGB, no conversion.
#include "media/image.h"

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <vips/vips.h>

#include "base/cleanup.h"
#include "media/fit.h"
#include "media/icc.h"
#include "media/jpeg.h"
#include "media/magic.h"
#include "media/probe.h"

DEFINE_CLEANUP(VipsImage *, image, g_object_unref)
#define _cleanup_image_ _cleanup_(cleanup_image)
DEFINE_CLEANUP(VipsRegion *, region, g_object_unref)
#define _cleanup_region_ _cleanup_(cleanup_region)
DEFINE_CLEANUP(struct probe *, probe, probe_free)
#define _cleanup_probe_ _cleanup_(cleanup_probe)

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

// Makes 8-bit samples without alpha, of any number of bands.
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

// Averages whole blocks of pixels while they stream by, so that what is pulled is less than twice too large.
static int shrink_blocks(VipsImage **im, int max_edge)
{
    int block = VIPS_MAX((*im)->Xsize, (*im)->Ysize) / max_edge;
    if (block < 2)
        return 0;
    int across = VIPS_MIN(block, (*im)->Xsize), down = VIPS_MIN(block, (*im)->Ysize);
    return STEP(im, vips_shrink(*im, &next_, across, down, "ceil", TRUE, NULL));
}

static bool is_plain(const VipsImage *im)
{
    return im->BandFmt == VIPS_FORMAT_UCHAR && im->Coding == VIPS_CODING_NONE &&
           ((im->Bands == 3 && im->Type == VIPS_INTERPRETATION_sRGB) ||
            (im->Bands == 1 && im->Type == VIPS_INTERPRETATION_B_W));
}

// The way for colours that icc.c does not know: CMYK, profiles made of tables.
static int convert_colours(VipsImage **im)
{
    bool cmyk = (*im)->Type == VIPS_INTERPRETATION_CMYK;
    VipsImage *next = NULL;
    if (vips_icc_transform(*im, &next, "srgb", "embedded", TRUE, "input_profile", cmyk ? "cmyk" : "srgb", "intent",
                           VIPS_INTENT_PERCEPTUAL, "black_point_compensation", TRUE, NULL) == 0) {
        g_object_unref(*im);
        *im = next;
    } else {
        vips_error_clear(); // a broken profile is no reason to refuse a picture
    }
    return is_plain(*im) ? 0 : STEP(im, vips_colourspace(*im, &next_, VIPS_INTERPRETATION_sRGB, NULL));
}

static void copy_row(const VipsImage *im, const uint8_t *from, uint8_t *to)
{
    if (im->Bands == 3) {
        memcpy(to, from, (size_t)im->Xsize * 3);
        return;
    }
    for (int x = 0; x < im->Xsize; x++, to += 3)
        to[0] = to[1] = to[2] = from[x];
}

// Pulls the whole image through the pipeline, in strips, by this thread.
static int pull(VipsImage *im, struct pixels *out)
{
    enum { STRIP = 16 };
    struct pixels made = {.width = im->Xsize, .height = im->Ysize};
    _cleanup_free_ uint8_t *data = malloc(pixels_bytes(&made));
    _cleanup_region_ VipsRegion *region = vips_region_new(im);
    if (!data || !region)
        return -1;
    for (int y = 0; y < im->Ysize; y += STRIP) {
        VipsRect rect = {0, y, im->Xsize, VIPS_MIN(STRIP, im->Ysize - y)};
        if (vips_region_prepare(region, &rect))
            return -1;
        for (int i = y; i < y + rect.height; i++)
            copy_row(im, VIPS_REGION_ADDR(region, 0, i), data + (size_t)i * (size_t)im->Xsize * 3);
    }
    made.data = take_ptr(data);
    *out = made;
    return 0;
}

static int check_size(const struct media_info *info, uint64_t max_pixels, struct error *err)
{
    if ((uint64_t)info->width * (uint64_t)info->height <= max_pixels)
        return 0;
    return error_set(err, ERR_IMAGE_TOO_LARGE, "The image is %d × %d pixels large; it may have at most %llu pixels.",
                     info->width, info->height, (unsigned long long)max_pixels);
}

// How much the JPEG decoder may shrink and still leave at least what was asked for.
static int jpeg_shrink(double factor)
{
    return factor >= 8 ? 8 : factor >= 4 ? 4 : factor >= 2 ? 2 : 1;
}

// Opens the image so that it decodes at the least size that still covers `max_edge`; corrects the size in `info`
// where the decoder knows better.
static VipsImage *open_shrunk(struct media_info *info, enum media_format format, const void *data, size_t len,
                              int max_edge)
{
    double factor = (double)VIPS_MAX(info->width, info->height) / max_edge;
    bool scaled = factor > 1 && VIPS_MIN(info->width, info->height) >= 2 * factor; // libvips aborts on an edge of 0
    VipsImage *im = open_image(format, data, len, scaled ? jpeg_shrink(factor) : 1, scaled ? 1 / factor : 1);
    bool smaller = format == FORMAT_JPEG || format == FORMAT_WEBP; // what was opened is already shrunk
    if (im) {
        info->width = smaller ? VIPS_MAX(info->width, im->Xsize) : im->Xsize;
        info->height = smaller ? VIPS_MAX(info->height, im->Ysize) : im->Ysize;
    }
    return im;
}

static enum icc_kind read_profile(VipsImage *im, struct icc *out)
{
    const void *profile;
    size_t len;
    if (!is_plain(im))
        return ICC_OTHER;
    if (!vips_image_get_typeof(im, VIPS_META_ICC_NAME))
        return ICC_SRGB;
    return vips_image_get_blob(im, VIPS_META_ICC_NAME, &profile, &len) ? ICC_OTHER
                                                                       : icc_read(profile, len, im->Bands, out);
}

// From the opened image to small sRGB pixels that are still as they lie in the file.
static int decode(VipsImage **im, const struct media_info *info, int max_edge, struct pixels *out)
{
    struct icc icc;
    if (to_opaque_8bit(im) || shrink_blocks(im, max_edge))
        return -1;
    enum icc_kind kind = read_profile(*im, &icc);
    if (kind == ICC_OTHER && convert_colours(im))
        return -1;
    if (pull(*im, out))
        return -1;
    fit_box(out, info->width, info->height, max_edge);
    if (kind == ICC_SIMPLE)
        icc_apply(&icc, out);
    return 0;
}

static int look(const void *data, size_t len, uint64_t max_pixels, struct media_info *out, struct error *err)
{
    struct probe_limits limits = {.max_pixels = max_pixels, .max_edge = INT_MAX};
    _cleanup_probe_ struct probe *probe = probe_new(&limits);
    return probe_feed(probe, data, len, err) || probe_end(probe, out, err) ? -1 : 0;
}

// The original's size with its orientation applied is what the caller hears.
static void finish(struct pixels *px, const struct media_info *info, int orientation, struct image_decoded *out)
{
    orient(px, orientation);
    bool turned = orientation >= 5;
    *out = (struct image_decoded){
        .pixels = *px,
        .width = turned ? info->height : info->width,
        .height = turned ? info->width : info->height,
    };
}

// 0, -1, or JPEG_NOT_MINE.
static int decode_jpeg(const void *data, size_t len, int max_edge, const struct media_info *info,
                       struct image_decoded *out, struct error *err)
{
    struct jpeg_decoded d;
    int rc = jpeg_decode(data, len, info->width, info->height, max_edge, &d, err);
    if (rc)
        return rc;
    fit_box(&d.pixels, info->width, info->height, max_edge);
    if (d.kind == ICC_SIMPLE)
        icc_apply(&d.icc, &d.pixels);
    finish(&d.pixels, info, d.orientation, out);
    return 0;
}

static int decode_any(enum media_format format, const void *data, size_t len, int max_edge, uint64_t max_pixels,
                      struct media_info *info, struct image_decoded *out, struct error *err)
{
    _cleanup_image_ VipsImage *im = open_shrunk(info, format, data, len, max_edge);
    if (!im)
        return fail(err, ERR_IMAGE_CORRUPT, "The image cannot be decoded");
    if (check_size(info, max_pixels, err))
        return -1;
    int orientation = vips_image_get_orientation(im);
    struct pixels pixels;
    if (decode(&im, info, max_edge, &pixels))
        return fail(err, ERR_IMAGE_CORRUPT, "The image cannot be decoded");
    finish(&pixels, info, orientation, out);
    return 0;
}

int image_decode(const void *data, size_t len, int max_edge, uint64_t max_pixels, struct image_decoded *out,
                 struct error *err)
{
    struct media_info info;
    if (look(data, len, max_pixels, &info, err))
        return -1;
    enum media_format format = magic_find(data, len)->format;
    if (format == FORMAT_JPEG) {
        int rc = decode_jpeg(data, len, max_edge, &info, out, err);
        if (rc != JPEG_NOT_MINE)
            return rc;
    }
    return decode_any(format, data, len, max_edge, max_pixels, &info, out, err);
}
